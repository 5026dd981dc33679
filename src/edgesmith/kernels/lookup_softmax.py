"""Softmax from bytes to bytes by a table of exponentials."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import ClassVar

from edgesmith.c.expr import const, emit
from edgesmith.c.writer import Writer
from edgesmith.ir import DType, Graph, Node, View
from edgesmith.kernels.base import SIGNATURE, Code, Kernel, Problem, Reject, Schedule, kernel, unpack
from edgesmith.kernels.lanes import load, store
from edgesmith.kernels.region import Region, region
from edgesmith.ops import Array
from edgesmith.ops.lookup_softmax import LookupSoftmax

STEP_NS = 30.0
LINE_CYCLES = 60.0
LOOKUPS_PER_CYCLE = 0.7
VECTOR_CYCLES = 4.0
MAXIMA = 16
"""Bytes of a line that are compared at once."""


@kernel
class TableSoftmax(Kernel):
    """Lines that are contiguous: the maximum, the table's entries and their sum, then the results in vectors."""

    name: ClassVar[str] = "lookup-softmax"

    def regions(self, graph: Graph, anchor: Node) -> Iterator[Region]:
        if isinstance(anchor.op, LookupSoftmax):
            yield region(graph, (anchor,), anchor)

    def accepts(self, problem: Problem) -> Reject | None:
        node = problem.anchor
        if not isinstance(node.op, LookupSoftmax) or len(problem.region.nodes) > 1:
            return Reject("computes LookupSoftmax alone")
        if problem.target.isa is None:
            return Reject("needs vectors, the target is portable C")
        if problem.region.inputs != (node.inputs[0],):
            return Reject("needs a constant table, and bytes computed at run time")
        for value in (node.inputs[0], node.outputs[0]):
            view = problem.view(value)
            if not view.size:
                return Reject("it has no elements")
            if view.shape[node.op.axis] > 1 and view.strides[node.op.axis] != 1:
                return Reject(f"the elements of a line of {view} are not contiguous")
        return None

    def in_place(self, problem: Problem) -> tuple[str, ...]:
        x = problem.region.inputs[0]
        return (x,) if problem.view(x).same_place(problem.view(problem.region.outputs[0])) else ()

    def cost(self, problem: Problem, schedule: Schedule) -> float:
        y, length = problem.view(problem.region.outputs[0]), _length(problem)
        vectors = -(-length // problem.target.lanes)
        line = LINE_CYCLES + length / LOOKUPS_PER_CYCLE + vectors * VECTOR_CYCLES
        return STEP_NS + y.size // length * line / problem.target.gigahertz

    def emit(self, problem: Problem, schedule: Schedule) -> Code:
        node, lanes, length = problem.anchor, problem.target.lanes, _length(problem)
        x, y = (problem.view(v) for v in (node.inputs[0], node.outputs[0]))
        table, factor, zero = (problem.graph.constants[v] for v in node.inputs[1:])
        assert isinstance(node.op, LookupSoftmax)
        axis = node.op.axis
        index = ["0" if a == axis else f"i{a}" for a in range(y.rank)]
        lines = [(i, n) for a, (i, n) in enumerate(zip(index, y.shape, strict=True)) if a != axis]
        result = LookupSoftmax.result(const(int(zero.item()), y.dtype))
        # The entry of the largest byte comes last, so that the byte itself counts from a place.
        constants = [("table", table[::-1].copy()), ("factor", factor.reshape(1))]
        w = Writer()
        with w.block(SIGNATURE):
            w.lines(unpack(problem, constants))
            w.line("int32_t *const terms = (int32_t *)scratch;")
            with w.block("for (int32_t task = begin; task < end; ++task)"):
                w.unravel("task", lines)
                w.line(f"const {x.dtype.c} *const from = &{_at('x0', x, index)};")
                w.line(f"{y.dtype.c} *const to = &{_at('y0', y, index)};")
                _maximum(w, x.dtype, length)
                w.line("const int32_t *const entries = table + 255 - top;")
                w.line("int32_t sum = 0;")
                with w.block(f"for (int32_t k = 0; k < {length}; ++k)"):
                    w.line("terms[k] = entries[from[k]];")
                with w.block(f"for (int32_t k = 0; k < {length}; ++k)"):
                    w.line("sum += terms[k];")
                w.line("const es_v r = es_set1(factor[0] / (float)sum);")
                rest = length % lanes
                if length > rest:
                    with w.block(f"for (int32_t k = 0; k < {length - rest}; k += {lanes})"):
                        leaves = {"t": load(DType.I32, "terms + k"), "r": "r"}
                        w.line(store(y.dtype, "to + k", emit(result, leaves, w, vector=True)))
                if rest:
                    with w.block(""):
                        leaves = {"t": load(DType.I32, f"terms + {length - rest}", rest), "r": "r"}
                        w.line(store(y.dtype, f"to + {length - rest}", emit(result, leaves, w, vector=True), rest))
        return Code(
            w.text(),
            f"softmax_lookup_{x.dtype}_{y.dtype}_{length}",
            tuple(a for _, a in constants),
            prod(n for _, n in lines),
            scratch_bytes=4 * length,
        )


def _maximum(w: Writer, dtype: DType, length: int) -> None:
    """Write ``top``, the largest byte of a line: of every ``MAXIMA``th byte, side by side, then of those."""
    kind, whole = dtype.c, length - length % MAXIMA
    if whole <= MAXIMA:
        w.line(f"{kind} top = from[0];")
    else:
        w.line(f"{kind} most[{MAXIMA}];")
        w.line("memcpy(most, from, sizeof most);")
        with w.block(f"for (int32_t k = {MAXIMA}; k < {whole}; k += {MAXIMA})"), w.loop("j", MAXIMA):
            w.line("most[j] = from[k + j] > most[j] ? from[k + j] : most[j];")
        w.line(f"{kind} top = most[0];")
        with w.loop("j", MAXIMA):
            w.line("top = most[j] > top ? most[j] : top;")
    with w.block(f"for (int32_t k = {0 if whole <= MAXIMA else whole}; k < {length}; ++k)"):
        w.line("top = from[k] > top ? from[k] : top;")


def _length(problem: Problem) -> int:
    op = problem.anchor.op
    assert isinstance(op, LookupSoftmax)
    return problem.view(problem.region.outputs[0]).shape[op.axis]


def _at(pointer: str, view: View, index: list[str]) -> str:
    return Array(pointer, view).at(*index)
