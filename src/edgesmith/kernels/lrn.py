"""Local response normalisation with vectors over the channels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np

from edgesmith.c.expr import Expr, call, const, emit, literal, polynomial, var
from edgesmith.c.mathfunctions import functions_of
from edgesmith.c.writer import Writer
from edgesmith.ir import DType, Graph, Node
from edgesmith.kernels.base import SIGNATURE, Code, Kernel, Problem, Reject, Schedule, kernel, operands, unpack
from edgesmith.kernels.cycles import FLOAT_BYTES, cycles_of, far_cycles
from edgesmith.kernels.region import Region, region
from edgesmith.ops import Array
from edgesmith.ops.lrn import LRN

MOST_NEIGHBOURS = 64
PIXEL_CYCLES, VECTOR_CYCLES, ROOT_CYCLES = 20.0, 2.0, 6.0

FOURTH_ROOT_BITS = 0x4F581890
"""Less a quarter of the bits of t > 0, these are the bits of a y with |1 - t y**4| < 0.1236: a float's bits are about
its logarithm (J. Blinn, "Floating-point tricks", IEEE CG&A 17(4), 1997)."""
REMAINDERS = {
    0.25: (0.0821555555, 0.0965840816, 0.117182814, 0.156244755, 0.25, 1.0),
    0.75: (0.545359135, 0.573911488, 0.601525724, 0.656211853, 0.75, 1.0),
}
"""(1 - e)**-beta for |e| < 0.1236 within 1.3e-7, interpolated at Chebyshev nodes; highest power first."""


@kernel
class VectorLrn(Kernel):
    """The squares of a pixel's channels are kept between zeros, from which shifted vectors are summed.

    The squares of the next pixel are stored while a pixel's are summed: a load that straddles two stores must wait
    until both have reached the cache.
    """

    name: ClassVar[str] = "lrn"

    def regions(self, graph: Graph, anchor: Node) -> Iterator[Region]:
        if isinstance(anchor.op, LRN):
            yield region(graph, (anchor,), anchor)

    def accepts(self, problem: Problem) -> Reject | None:
        op = problem.anchor.op
        if not isinstance(op, LRN) or len(problem.region.nodes) > 1:
            return Reject("computes LRN alone")
        if problem.target.isa is None:
            return Reject("needs vectors; the target is portable C")
        if not problem.region.inputs:
            return Reject("its input is constant")
        for value in (*problem.region.inputs, *problem.region.outputs):
            if problem.view(value).strides[1] != 1:
                return Reject(f"the channels of {problem.view(value)} are not innermost")
        return Reject(f"{op.size} neighbours; up to {MOST_NEIGHBOURS}") if op.size > MOST_NEIGHBOURS else None

    def in_place(self, problem: Problem) -> tuple[str, ...]:
        x = problem.region.inputs[0]
        return (x,) if problem.view(x).same_place(problem.view(problem.region.outputs[0])) else ()

    def cost(self, problem: Problem, schedule: Schedule) -> float:
        op, y = problem.anchor.op, problem.type(problem.region.outputs[0])
        assert isinstance(op, LRN)
        pixels, vectors = y.size // max(y.shape[1], 1), -(-y.shape[1] // problem.target.lanes)
        power = ROOT_CYCLES if _by_root(op) else cycles_of(_result(op), problem.target)
        # Shifted loads straddle cache lines: one a cycle.
        cycles = pixels * (PIXEL_CYCLES + vectors * (VECTOR_CYCLES + op.size + power))
        return 50 + max(cycles, far_cycles(problem.bytes_moved, problem.target)) / problem.target.gigahertz

    def emit(self, problem: Problem, schedule: Schedule) -> Code:
        op = problem.anchor.op
        assert isinstance(op, LRN)
        x, y = (operands(problem)[v] for v in (*problem.region.inputs, *problem.region.outputs))
        shape, lanes = x.view.shape, problem.target.lanes
        before, after = (op.size - 1) // 2, op.size // 2
        length = before + -(-shape[1] // lanes) * lanes + after
        index = [f"i{a}" for a in range(len(shape))]
        axes = [a for a in range(len(shape)) if a != 1]
        columns = axes.pop() if len(axes) > 1 else None
        w = Writer()

        def squares(source: str, target: str, lanes: int) -> None:
            w.line(f"const es_v v = {_load(source, lanes)};")
            w.line(f"es_store({target} + c + {before}, v * v);")

        with w.block(SIGNATURE):
            w.lines(unpack(problem))
            w.line("float *squares = scratch;")
            w.line(f"float *coming = squares + {length};")
            w.line(f"memset(scratch, 0, {2 * FLOAT_BYTES * length});")
            with w.block("for (int32_t task = begin; task < end; ++task)"):
                w.unravel("task", [(index[a], shape[a]) for a in axes])
                with w.block(""):
                    w.line(f"const float *const first = &{_pixel(x, index, columns, '0')};")
                    for part in _parts(w, shape[1], lanes):
                        squares("first", "squares", part)
                with w.loop("i", 1 if columns is None else shape[columns]):
                    w.line(f"const float *const x = &{_pixel(x, index, columns, 'i')};")
                    w.line(f"float *const y = &{_pixel(y, index, columns, 'i')};")
                    ahead = "x" if columns is None else f"i + 1 < {shape[columns]} ? x + {x.view.strides[columns]} : x"
                    w.line(f"const float *const ahead = {ahead};")
                    for part in _parts(w, shape[1], lanes):
                        with w.block(""):
                            squares("ahead", "coming", part)
                        terms = [f"es_load(squares + c + {k})" if k else "es_load(squares + c)" for k in range(op.size)]
                        value = self._output(w, op, _load("x", part), _sum(terms))
                        w.line(f"es_store_n(y + c, {value}, {part});" if part else f"es_store(y + c, {value});")
                    w.line("float *const done = squares;")
                    w.line("squares = coming, coming = done;")
        tasks = math.prod(shape[a] for a in axes)
        functions = () if _by_root(op) else functions_of(_result(op))
        return Code(w.text(), "lrn_f32", (), tasks, 2 * FLOAT_BYTES * length, functions)

    def _output(self, w: Writer, op: LRN, x: str, total: str) -> str:
        if _by_root(op):
            return _by_root_of(w, op, x, total)
        return emit(_result(op), {"x": x, "sum": total}, w, vector=True)


def _pixel(array: Array, index: Sequence[str], columns: int | None, column: str) -> str:
    """C text of a pixel's first channel."""
    place = ["0" if a == 1 else column if a == columns else i for a, i in enumerate(index)]
    return array.at(*place)


def _load(pointer: str, lanes: int) -> str:
    return f"es_load_n({pointer} + c, {lanes})" if lanes else f"es_load({pointer} + c)"


def _parts(w: Writer, channels: int, lanes: int) -> Iterator[int]:
    """Loop over whole vectors, then the rest: yields the lanes of a partial vector, 0 for a whole one."""
    whole = channels // lanes * lanes
    if whole:
        with w.loop("c", whole, 0, lanes):
            yield 0
    if channels % lanes:
        with w.block(""):
            w.line(f"enum {{ c = {whole} }};")
            yield channels % lanes


def _sum(terms: Sequence[str]) -> str:
    """C text of a sum by halves, so that few additions wait for one another."""
    half = len(terms) // 2
    return f"({_sum(terms[:half])} + {_sum(terms[half:])})" if half else terms[0]


def _result(op: LRN) -> Expr:
    """The output over ``x`` and ``sum``, the sum of squares."""
    base = call("fma", var("sum"), const(op.alpha / op.size), const(op.bias))
    if op.beta in (0.5, 1.0):
        return var("x") / (base if op.beta == 1.0 else call("sqrt", base))
    return var("x") * call("exp", call("log", base) * -op.beta)


def _by_root(op: LRN) -> bool:
    """Whether the power is one of a fourth root and all constants that it then needs are normal numbers."""
    if op.beta not in REMAINDERS or min(op.alpha, op.bias) <= 0:
        return False
    factor, limits = op.alpha / op.size, np.finfo(np.float32)
    return all(limits.tiny <= c <= limits.max for c in (op.bias / factor, 0.01 * factor**-op.beta, factor**-op.beta))


def _by_root_of(w: Writer, op: LRN, x: str, total: str) -> str:
    """Write the statements and return the C text of the output.

    With f = alpha / size it is x f**-beta t**-beta for t = sum + bias / f, and t**-beta that of a rough fourth root,
    corrected by what the root lacks. Where squares overflow, it is 0 x, as by division.
    """
    factor = op.alpha / op.size
    base = var("sum") + const(op.bias / factor)
    rest = polynomial(var("e"), [c * factor**-op.beta for c in REMAINDERS[op.beta]])
    w.line(f"const es_v base = {emit(base, {'sum': total}, w, vector=True)};")
    w.line(f"const es_v root = (es_v)({FOURTH_ROOT_BITS} - ((es_m)base >> 2)), square = root * root;")
    w.line("const es_v e = es_fma(-base, square * square, es_set1(1.0f));")
    w.line(f"const es_v rest = {emit(rest, {'e': 'e'}, w, vector=True)};")
    power = "root" if op.beta == 0.25 else "square * root"
    largest = literal(np.finfo(np.float32).max, DType.F32)
    return f"{x} * ({power}) * es_select(base > es_set1({largest}), es_set1(0.0f), rest)"
