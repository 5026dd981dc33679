"""Local response normalisation with vectors over the channels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar

from edgesmith.c.expr import Expr, call, const, emit, var
from edgesmith.c.mathfunctions import functions_of
from edgesmith.c.writer import Writer
from edgesmith.ir import Graph, Node
from edgesmith.kernels.base import SIGNATURE, Code, Kernel, Problem, Reject, Schedule, kernel, operands, unpack
from edgesmith.kernels.cycles import cycles_of, far_cycles
from edgesmith.kernels.region import Region, region
from edgesmith.kernels.tile import GIGAHERTZ
from edgesmith.ops.lrn import LRN

MOST_NEIGHBOURS = 64


@kernel
class VectorLrn(Kernel):
    """The squares of a pixel's channels are kept between zeros, from which shifted vectors are summed."""

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
        # Shifted loads straddle cache lines: one a cycle.
        cycles = pixels * (20.0 + vectors * (4.0 + op.size + cycles_of(_result(op))))
        return 50 + max(cycles, far_cycles(problem.bytes_moved, problem.target)) / GIGAHERTZ

    def emit(self, problem: Problem, schedule: Schedule) -> Code:
        op = problem.anchor.op
        assert isinstance(op, LRN)
        x, y = (operands(problem)[v] for v in (*problem.region.inputs, *problem.region.outputs))
        shape, lanes = x.view.shape, problem.target.lanes
        before, after = (op.size - 1) // 2, op.size // 2
        vectors = -(-shape[1] // lanes)
        length = before + vectors * lanes + after
        index = [f"i{a}" for a in range(len(shape))]
        spatial = index[2:]
        result = _result(op)
        w = Writer()
        with w.block(SIGNATURE):
            w.lines(unpack(problem))
            w.line("float *const squares = scratch;")
            w.line(f"memset(squares, 0, {4 * length});")
            outer, loops = (index[0], *spatial[:1]), list(zip(spatial[1:], shape[3:], strict=True))
            with w.block("for (int32_t task = begin; task < end; ++task)"):
                w.unravel("task", [(i, shape[int(i[1:])]) for i in outer])
                with w.nest(loops):
                    w.line(f"const float *const x = &{x.at(index[0], '0', *spatial)};")
                    w.line(f"float *const y = &{y.at(index[0], '0', *spatial)};")
                    for count in self._parts(w, shape[1], lanes):
                        load = f"es_load_n(x + c, {count})" if count else "es_load(x + c)"
                        w.line(f"const es_v v = {load};")
                        w.line(f"es_store(squares + c{f' + {before}' if before else ''}, v * v);")
                    for count in self._parts(w, shape[1], lanes):
                        w.line("es_v sum = es_load(squares + c);")
                        for k in range(1, op.size):
                            w.line(f"sum += es_load(squares + c + {k});")
                        load = f"es_load_n(x + c, {count})" if count else "es_load(x + c)"
                        value = emit(result, {"x": load, "sum": "sum"}, w, vector=True)
                        w.line(f"es_store_n(y + c, {value}, {count});" if count else f"es_store(y + c, {value});")
        tasks = shape[0] * math.prod(shape[2:3])
        return Code(w.text(), "lrn_f32", (), tasks, 4 * length, functions_of(result))

    def _parts(self, w: Writer, channels: int, lanes: int) -> Iterator[int]:
        """Loop over whole vectors, then the rest: yields the lanes of a partial vector, 0 for a whole one."""
        whole = channels // lanes * lanes
        if whole:
            with w.loop("c", whole, 0, lanes):
                yield 0
        if channels % lanes:
            with w.block(""):
                w.line(f"enum {{ c = {whole} }};")
                yield channels % lanes


def _result(op: LRN) -> Expr:
    """The output over ``x`` and ``sum``, the sum of squares."""
    base = call("fma", var("sum"), const(op.alpha / op.size), const(op.bias))
    if op.beta in (0.5, 0.75):
        root = call("sqrt", base)
        return var("x") / (root if op.beta == 0.5 else root * call("sqrt", root))
    return var("x") * call("exp", call("log", base) * -op.beta)
