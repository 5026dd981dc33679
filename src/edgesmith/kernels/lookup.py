"""Functions of bytes by a table."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from edgesmith.c.writer import Writer
from edgesmith.ir import Graph, Node, View
from edgesmith.kernels.base import SIGNATURE, Code, Kernel, Problem, Reject, Schedule, kernel, unpack
from edgesmith.kernels.elementwise import collapse
from edgesmith.kernels.region import Region, epilogue_chains, region
from edgesmith.ops import Array, Elementwise
from edgesmith.ops.lookup import BYTES, Lookup, table_of

TASK_BYTES = 16 * 1024
STEP_NS = 30.0
BYTES_PER_CYCLE = {True: 1.6, False: 0.9}
"""By whether table entries are shuffled in registers."""
ENTRIES = 16
"""Table entries that one shuffle chooses from."""


@kernel
class TableLookup(Kernel):
    """The table in vector registers where an instruction set shuffles bytes, plain loads elsewhere.

    A shuffle takes the low half of a byte that is not negative, and gives 0 for one that is. So bytes from 0 on go down
    by 16 from one part of the table to the next, and each part is stored as its difference (exclusive or) from the part
    before: what has been added up when a byte turns negative is its entry. The upper 128 entries are found alike.

    A chain of elementwise operators from bytes to bytes is a table too, whose entries are those operators' references.
    """

    name: ClassVar[str] = "lookup"

    def regions(self, graph: Graph, anchor: Node) -> Iterator[Region]:
        if isinstance(anchor.op, Lookup):
            yield region(graph, (anchor,), anchor)
        elif isinstance(anchor.op, Elementwise) and any(graph.type(v).dtype in BYTES for v in anchor.read):
            yield from (r for r in epilogue_chains(graph, anchor) if _reject(graph, r) is None)

    def accepts(self, problem: Problem) -> Reject | None:
        reason = _reject(problem.graph, problem.region)
        return Reject(reason) if reason else None

    def in_place(self, problem: Problem) -> tuple[str, ...]:
        x = problem.region.inputs[0]
        return (x,) if problem.view(x).same_place(problem.view(problem.region.outputs[0])) else ()

    def cost(self, problem: Problem, schedule: Schedule) -> float:
        size = problem.view(problem.region.outputs[0]).size
        return STEP_NS + size / BYTES_PER_CYCLE[_in_registers(problem)] / problem.target.gigahertz

    def emit(self, problem: Problem, schedule: Schedule) -> Code:
        x, y = (problem.view(v) for v in (problem.region.inputs[0], problem.region.outputs[0]))
        table = _table(problem.graph, problem.region)
        constants = [("table", table)]
        if _in_registers(problem):
            constants.append(("parts", _differences(table)))
        order = y.order()
        shape, (to, from_) = collapse([y.shape[a] for a in order], [[v.strides[a] for a in order] for v in (y, x)])
        shape, to, from_ = (list(v) or [1] for v in (shape, to, from_))
        target, source = (View(tuple(shape), tuple(s), v.dtype) for s, v in ((to, y), (from_, x)))
        index = [f"i{a}" for a in range(len(shape))]
        whole = len(shape) == 1
        tasks = -(-shape[0] // TASK_BYTES) if whole else shape[0]
        w = Writer()
        with w.block(SIGNATURE):
            w.lines(unpack(problem, constants))
            w.line("(void)scratch;")
            if whole:
                w.line(f"const int32_t first = begin * {TASK_BYTES};")
                w.line(f"const int32_t stop = end * {TASK_BYTES} < {shape[0]} ? end * {TASK_BYTES} : {shape[0]};")
                self._run(w, problem, Array("x0", source), Array("y0", target), [], "first", "stop")
            else:
                outer = [(i, n) for i, n in zip(index[1:-1], shape[1:-1], strict=True)]
                with w.block("for (int32_t i0 = begin; i0 < end; ++i0)"), w.nest(outer):
                    self._run(w, problem, Array("x0", source), Array("y0", target), index[:-1], "0", str(shape[-1]))
        form = "shuffle" if _in_registers(problem) else "loads"
        return Code(
            w.text(),
            f"lookup_{form}_{y.dtype}",
            tuple(a for _, a in constants),
            max(1, tasks if math.prod(shape) else 1),
        )

    def _run(self, w: Writer, problem: Problem, x: Array, y: Array, outer: list[str], first: str, stop: str) -> None:
        """Write the lookups along the innermost axis."""
        w.line(f"int32_t k = {first};")
        if _in_registers(problem):
            nbytes = 4 * problem.target.lanes
            with w.block(f"for (; k + {nbytes} <= {stop}; k += {nbytes})"):
                w.line(f"es_m low = es_quads_i8((const int8_t *)&{x.at(*outer, 'k')});")
                w.line("es_m found, high = low ^ es_set1_i32((int32_t)0x80808080u);")
                for part in range(256 // ENTRIES // 2):
                    places = part * ENTRIES, 128 + part * ENTRIES
                    found = [
                        f"es_shuffle16(parts + {at}, {half})" for at, half in zip(places, ("low", "high"), strict=True)
                    ]
                    if part:
                        w.line("low = es_minus16(low), high = es_minus16(high);")
                    w.line(f"found {'^=' if part else '='} {' ^ '.join(found)};")
                w.line(f"memcpy(&{y.at(*outer, 'k')}, &found, sizeof found);")
        with w.block(f"for (; k < {stop}; ++k)"):
            w.line(f"{y.at(*outer, 'k')} = table[(uint8_t){x.at(*outer, 'k')}];")


def _reject(graph: Graph, region: Region) -> str | None:
    """Why a region is no function of one byte."""
    if len(region.inputs) != 1 or len(region.outputs) != 1:
        return "no function of one value"
    (x,), (y,) = region.inputs, region.outputs
    if (
        graph.type(x).dtype not in BYTES
        or graph.type(y).dtype not in BYTES
        or graph.type(x).shape != graph.type(y).shape
    ):
        return f"computes {graph.type(y)} from {graph.type(x)}, not bytes from bytes"
    if isinstance(region.anchor.op, Lookup) and len(region.nodes) == 1:
        return None if region.anchor.inputs[0] == x else "its table is computed at run time"
    for node in region.nodes:
        if not isinstance(node.op, Elementwise):
            return f"{node.op.name} is no function of single numbers"
        if any(graph.constants[v].size != 1 for v in node.read if v in graph.constants):
            return "its constants differ from element to element"
    return None


def _table(graph: Graph, region: Region) -> np.ndarray:
    """Entries by byte, as an unsigned number."""
    if isinstance(region.anchor.op, Lookup):
        return graph.constants[region.anchor.inputs[1]]
    (x,) = region.inputs
    return table_of(region.nodes, graph.constants, graph.type(x), x)


def _in_registers(problem: Problem) -> bool:
    """Whether the target shuffles bytes, and both sides are contiguous along the innermost axis."""
    x, y = (problem.view(v) for v in (problem.region.inputs[0], problem.region.outputs[0]))
    inner = [a for a in y.order() if y.shape[a] > 1]
    contiguous = bool(inner) and x.strides[inner[-1]] == y.strides[inner[-1]] == 1
    return contiguous and problem.target.has("shuffle16")


def _differences(table: np.ndarray) -> np.ndarray:
    """The parts of a table, each but the first of either half as its difference from the part before."""
    parts = table.view(np.uint8).reshape(2, -1, ENTRIES)
    result = parts.copy()
    result[:, 1:] ^= parts[:, :-1]
    return result.reshape(-1)
