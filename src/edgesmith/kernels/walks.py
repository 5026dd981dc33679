"""Reductions and what is built from them: walks over groups of elements with vectors, then perhaps a map over them.

``across``: vectors run along a kept axis, each lane has a group of its own. ``along``: vectors run along a reduced
axis; the partial results of the lanes are joined at the end of a walk, after which every lane holds the group's result.
Either way no group is split between threads, so results do not depend on their number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from edgesmith.c.expr import Expr, call, emit, literal, var
from edgesmith.c.mathfunctions import functions_of
from edgesmith.c.writer import Writer
from edgesmith.ir import DType, View
from edgesmith.kernels.base import SIGNATURE, Code, Problem, unpack
from edgesmith.kernels.cycles import cycles_of, far_cycles
from edgesmith.kernels.elementwise import collapse
from edgesmith.kernels.lanes import load, repeat
from edgesmith.kernels.tile import Panels
from edgesmith.ops import Array

__all__ = ["Walk", "Walks", "WalksEmitter", "add", "maximum"]

TASK_ELEMENTS = 4096
READ_SPEEDUP = 48 / 22
"""How much faster one stream comes from the second-level cache than several."""
LATENCY_CYCLES = 4.0
"""Of an addition; independent sums hide it."""


def add(a: Expr, b: Expr) -> Expr:
    return a + b


def maximum(a: Expr, b: Expr) -> Expr:
    """The larger of two; the first where either is NaN."""
    return call("max", b, a)


@dataclass(frozen=True, eq=False)
class Walk:
    """One pass over a group: ``total`` begins as ``start`` and becomes ``join(total, term)`` for every element.

    Args:
        term: over ``x`` and the results ``r0``, ``r1``, ... of earlier walks.
        result: over ``total`` and earlier results.
        stored: the terms are written to the first output, from which the map reads them as ``y``.
    """

    start: float
    join: Callable[[Expr, Expr], Expr]
    term: Expr
    result: Expr = field(default_factory=lambda: var("total"))
    stored: bool = False


@dataclass(frozen=True, eq=False)
class Walks:
    """What to compute.

    Args:
        x: the input, any shape.
        axes: its reduced axes.
        walks: in order.
        map: over ``x``, ``y``, the results and the operands' names: the element of ``y`` that lies where ``x`` does.
        mapped: ``y``, of the shape of ``x``.
        operands: further inputs of the map, broadcast to the shape of ``x``, by variable name.
        results: for each group one element (an array with stride 0 along reduced axes) and its expression.
        constants: arrays that operands point to, by pointer name.
    """

    x: Array
    axes: tuple[int, ...]
    walks: tuple[Walk, ...]
    map: Expr | None = None
    mapped: Array | None = None
    operands: tuple[tuple[str, Array], ...] = ()
    results: tuple[tuple[Array, Expr], ...] = ()
    constants: tuple[tuple[str, np.ndarray], ...] = ()

    @property
    def arrays(self) -> list[Array]:
        mapped = [self.mapped] if self.mapped else []
        return [self.x, *mapped, *(a for _, a in self.operands), *(a for a, _ in self.results)]

    @property
    def expressions(self) -> list[Expr]:
        walks = [e for w in self.walks for e in (w.term, w.join(var("total"), w.term), w.result)]
        return [*walks, *([self.map] if self.map else []), *(e for _, e in self.results)]

    def reject(self, problem: Problem) -> str | None:
        """Why vectors cannot compute it."""
        if problem.target.isa is None:
            return "needs vectors; the target is portable C"
        if any(a.view.dtype is not DType.F32 for a in self.arrays[1:]) or self.x.view.dtype not in (
            DType.F32,
            DType.F16,
        ):
            return "vectors compute f32"
        if not self.x.view.size:
            return "empty"
        axis = self._vector_axis
        if axis is None:
            return f"no axis of {self.x.view} is contiguous"
        for array in self.arrays:
            if array.view.strides[axis] not in (0, 1):
                return f"{array.view} is not contiguous along axis {axis}"
        written = [*([self.mapped] if self.mapped else []), *(a for a, _ in self.results if axis not in self.axes)]
        if any(a.view.strides[axis] != 1 for a in written):
            return f"the output is not contiguous along axis {axis}"
        return None

    @property
    def _vector_axis(self) -> int | None:
        view = self.x.view
        candidates = [a for a in range(view.rank) if view.strides[a] == 1 and view.shape[a] > 1]
        return candidates[0] if candidates else None

    @property
    def along(self) -> bool:
        return self._vector_axis in self.axes


class WalksEmitter:
    """The loops of some walks: axes in the order of the input, neighbours merged where all operands allow."""

    def __init__(self, problem: Problem, walks: Walks) -> None:
        self.problem, self.walks = problem, walks
        self.lanes = problem.target.lanes
        view = walks.x.view
        order = view.order()
        kept = [a for a in order if a not in walks.axes]
        reduced = [a for a in order if a in walks.axes]
        arrays = walks.arrays
        self.kept, kept_strides = self._merged(kept, arrays)
        self.reduced, reduced_strides = self._merged(reduced, arrays)
        shape = (*self.kept, *self.reduced)
        made = [
            Array(a.pointer, View(shape, (*k, *r), a.view.dtype))
            for a, k, r in zip(arrays, kept_strides, reduced_strides, strict=True)
        ]
        self.x = made.pop(0)
        self.mapped = made.pop(0) if walks.mapped else None
        self.operands = {name: made.pop(0) for name, _ in walks.operands}
        self.results = [(made.pop(0), e) for _, e in walks.results]
        self.along = walks.along
        self.index = [f"i{a}" for a in range(len(self.kept))] + [f"k{a}" for a in range(len(self.reduced))]
        self.last = len(shape) - 1 if self.along else len(self.kept) - 1
        self.outer = self.kept if self.along else self.kept[:-1]
        self.groups = math.prod(self.outer)
        self.count = math.prod(self.reduced)
        self.chunk = max(1, TASK_ELEMENTS // max(self.count, 1)) if self.along else 1
        channels = self.reduced[-1] if self.along else self.kept[-1]
        vectors = 1 if self.along else -(-channels // self.lanes)
        cheapest = min(cycles_of(w.term, problem.target) + 0.5 for w in walks.walks)
        self.chains = max(1, round(LATENCY_CYCLES / cheapest))
        widest = min(vectors, self.chains) if self.simple else 1
        self.panels = Panels(channels, self.lanes, next(v for v in (4, 2, 1) if v <= widest))

    def _merged(self, axes: list[int], arrays: Sequence[Array]) -> tuple[tuple[int, ...], list[list[int]]]:
        shape = [arrays[0].view.shape[a] for a in axes]
        strides = [[a.view.strides[i] for i in axes] for a in arrays]
        shape, strides = collapse(shape, strides)
        return (tuple(shape), strides) if shape else ((1,), [[0] for _ in arrays])

    @property
    def simple(self) -> bool:
        """Whether all terms are so short that only several chains keep the processor busy."""
        return all(cycles_of(w.term, self.problem.target) < LATENCY_CYCLES for w in self.walks.walks)

    @property
    def nanoseconds(self) -> float:
        walks, target = self.walks, self.problem.target
        work = sum(cycles_of(w.join(var("total"), w.term), target) + 0.5 for w in walks.walks)
        work += cycles_of(walks.map, target) + 1.5 + 0.5 * len(self.operands) if walks.map else 0.0
        if 4 * self.x.view.size > target.l1_bytes:
            work += 4 * self.lanes / (READ_SPEEDUP * target.core.l2_bytes_per_cycle)
        inner = self.x.view.shape[self.last]
        vectors = self.x.view.size / inner * -(-inner // self.lanes)
        each = (12.0 * len(walks.walks) + 6.0 + sum(cycles_of(w.result, target) + 2 for w in walks.walks)) * self.groups
        each *= 2.0 if self.along else self.panels.count
        moved = 4 * self.x.view.size * (2 if walks.mapped else 1)
        return 20 + max(vectors * work + each, far_cycles(moved, target)) / target.gigahertz

    def code(self, label: str) -> Code:
        w = Writer()
        panels = 1 if self.along else self.panels.count
        tasks = -(-self.groups // self.chunk) * panels
        outer = list(zip(self.index, self.outer, strict=False))
        with w.block(SIGNATURE):
            w.lines(unpack(self.problem, self.walks.constants))
            w.line("(void)scratch;")
            if self.along:
                w.line(f"const int32_t first = begin * {self.chunk};")
                stop = f"end * {self.chunk}"
                w.line(f"const int32_t last = {stop} < {self.groups} ? {stop} : {self.groups};")
                with w.block("for (int32_t group = first; group < last; ++group)"):
                    w.unravel("group", outer)
                    self._group_along(w)
            else:
                with w.block("for (int32_t task = begin; task < end; ++task)"):
                    w.unravel("task", [*outer, ("panel", panels)])
                    self._panels(w)
        functions = dict.fromkeys(f for e in self.walks.expressions for f in functions_of(e))
        form = "along" if self.along else f"across_{self.panels.vectors}v"
        constants = tuple(array for _, array in self.walks.constants)
        return Code(w.text(), f"{label}_{form}_f32", constants, tasks, functions=tuple(functions))

    def _panels(self, w: Writer) -> None:
        name = self.index[self.last]
        width = self.panels.vectors * self.lanes
        both = self.panels.full and self.panels.tail_vectors
        if self.panels.full:
            with w.block(f"if (panel < {self.panels.full})" if both else ""):
                w.line(f"const int32_t {name} = panel * {width};")
                self._group_across(w, self.panels.vectors, None)
        if self.panels.tail_vectors:
            with w.block("else" if both else ""):
                w.line(f"enum {{ {name} = {self.panels.full * width} }};")
                if not both:
                    w.line("(void)panel;") if self.panels.count > 1 else None
                self._group_across(w, self.panels.tail_vectors, self.panels.tail_lanes)

    # Elements

    def _at(self, array: Array, shift: int = 0, step: str = "") -> str:
        """C text of an element; ``shift`` lanes on, at ``step`` instead of the innermost reduced index."""
        index = list(self.index)
        if step:
            index[-1] = step
        if shift:
            index[self.last] = f"{index[self.last]} + {shift}"
        return array.at(*index)

    def _load(self, array: Array, element: str, lanes: str | None) -> str:
        if array.view.strides[self.last] == 0:
            return repeat(array.view.dtype, element)
        return load(array.view.dtype, f"&{element}", lanes)

    def _leaves(
        self, expr: Expr, results: Sequence[str], lanes: str | None, shift: int = 0, step: str = ""
    ) -> dict[str, str]:
        """C text of the variables of a term or the map."""
        arrays = {"x": self.x, **self.operands} | ({"y": self.mapped} if self.mapped else {})
        leaves = {f"r{i}": r for i, r in enumerate(results)}
        for name in _variables(expr) & arrays.keys():
            array = arrays[name]
            leaves[name] = self._load(array, self._at(array, shift, step), lanes)
        return leaves

    def _store(self, w: Writer, array: Array, value: str, lanes: str | None, shift: int = 0, step: str = "") -> None:
        element = self._at(array, shift, step)
        w.line(f"es_store_n(&{element}, {value}, {lanes});" if lanes else f"es_store(&{element}, {value});")

    def _step(
        self, w: Writer, walk: Walk, total: str, results: Sequence[str], lanes: str | None, shift: int, step: str
    ) -> None:
        """Write what one vector of elements does to a total."""
        term = emit(walk.term, self._leaves(walk.term, results, lanes, shift, step), w, vector=True)
        if walk.stored:
            assert self.mapped is not None
            name = w.fresh("e")
            w.line(f"const es_v {name} = {term};")
            self._store(w, self.mapped, name, lanes, shift, step)
            term = name
        joined = walk.join(var("total"), var("term"))
        value = emit(joined, {"total": total, "term": term}, w, vector=True)
        if lanes and self.along:
            value = f"es_select(es_first({lanes}), {value}, {total})"
        w.line(f"{total} = {value};")

    # A group to each lane

    def _group_across(self, w: Writer, vectors: int, tail: int | None) -> None:
        lanes = [str(tail) if tail and v == vectors - 1 else None for v in range(vectors)]
        results: list[list[str]] = [[] for _ in lanes]
        inner = self.reduced[-1]
        unroll = self.chains // vectors if inner >= self.chains > vectors and self.simple else 1
        k = self.index[-1]
        outer = list(zip(self.index[len(self.kept) : -1], self.reduced[:-1], strict=True))
        for number, walk in enumerate(self.walks.walks):
            totals = [[f"t{number}_{u}_{v}" for v in range(vectors)] for u in range(unroll)]
            for row in totals:
                w.line("es_v " + ", ".join(f"{t} = es_set1({literal(walk.start, DType.F32)})" for t in row) + ";")
            with w.nest(outer):
                whole = inner // unroll * unroll
                with w.loop(k, whole, 0, unroll):
                    for u, row in enumerate(totals):
                        for v, total in enumerate(row):
                            at = f"({k} + {u})" if u else ""
                            self._step(w, walk, total, results[v], lanes[v], v * self.lanes, at)
                if whole < inner:
                    with w.loop(k, inner, whole):
                        for v, total in enumerate(totals[0]):
                            self._step(w, walk, total, results[v], lanes[v], v * self.lanes, "")
            for v in range(vectors):
                column = [row[v] for row in totals]
                results[v].append(self._finish(w, walk, number, v, column, results[v]))
        if self.walks.map:
            with w.nest([*outer, (k, inner)]):
                for v in range(vectors):
                    self._map(w, results[v], lanes[v], v * self.lanes)
        for v in range(vectors):
            for array, expr in self.results:
                value = emit(expr, {f"r{i}": r for i, r in enumerate(results[v])}, w, vector=True)
                self._store(w, array, value, lanes[v], v * self.lanes, "0")

    def _finish(self, w: Writer, walk: Walk, number: int, v: int, totals: Sequence[str], results: Sequence[str]) -> str:
        """Write the joining of partial totals and the walk's result; returns its name."""
        rest = list(totals)
        while len(rest) > 1:
            half = (len(rest) + 1) // 2
            for a, b in zip(rest[:half], rest[half:], strict=False):
                joined = emit(walk.join(var("a"), var("b")), {"a": a, "b": b}, w, vector=True)
                w.line(f"{a} = {joined};")
            rest = rest[:half]
        if self.along:
            with w.block(f"for (int32_t n = {self.lanes}; n > 1; n /= 2)"):
                w.line(f"const es_v even = es_even({rest[0]}, {rest[0]}), odd = es_odd({rest[0]}, {rest[0]});")
                joined = emit(walk.join(var("even"), var("odd")), {"even": "even", "odd": "odd"}, w, vector=True)
                w.line(f"{rest[0]} = {joined};")
        leaves = {"total": rest[0], **{f"r{i}": r for i, r in enumerate(results)}}
        name = f"r{number}_{v}"
        w.line(f"const es_v {name} = {emit(walk.result, leaves, w, vector=True)};")
        return name

    def _map(self, w: Writer, results: Sequence[str], lanes: str | None, shift: int) -> None:
        assert self.walks.map is not None and self.mapped is not None
        value = emit(self.walks.map, self._leaves(self.walks.map, results, lanes, shift), w, vector=True)
        self._store(w, self.mapped, value, lanes, shift)

    # A group along the lanes

    def _group_along(self, w: Writer) -> None:
        inner, lanes, k = self.reduced[-1], self.lanes, self.index[-1]
        outer = list(zip(self.index[len(self.kept) : -1], self.reduced[:-1], strict=True))
        chains = max(c for c in (1, 2, 4) if c * lanes <= max(inner, lanes)) if self.simple else 1
        results: list[str] = []

        def stretch(body: Callable[[int, str | None], None], unroll: int) -> None:
            """Write a walk along the innermost axis: ``body(number of the vector, lanes of a partial one)``."""
            step = unroll * lanes
            whole = inner // step * step
            if whole:
                with w.loop(k, whole, 0, step):
                    for u in range(unroll):
                        body(u, None)
            if unroll > 1 and inner // lanes * lanes > whole:
                with w.loop(k, inner // lanes * lanes, whole, lanes):
                    body(0, None)
            if inner % lanes:
                with w.block(""):
                    w.line(f"enum {{ {k} = {inner // lanes * lanes} }};")
                    body(0, str(inner % lanes))

        for number, walk in enumerate(self.walks.walks):
            totals = [f"t{number}_{u}" for u in range(chains)]
            w.line("es_v " + ", ".join(f"{t} = es_set1({literal(walk.start, DType.F32)})" for t in totals) + ";")

            def step(u: int, partial: str | None, walk: Walk = walk, totals: list[str] = totals) -> None:
                self._step(w, walk, totals[u], results, partial, u * lanes, "")

            with w.nest(outer):
                stretch(step, chains)
            results.append(self._finish(w, walk, number, 0, totals, results))
        if self.walks.map:
            with w.nest(outer):
                stretch(lambda u, partial: self._map(w, results, partial, 0), 1)
        for array, expr in self.results:
            value = emit(expr, {f"r{i}": r for i, r in enumerate(results)}, w, vector=True)
            place = [*self.index[: len(self.kept)], *("0" for _ in self.reduced)]
            name = w.fresh("s")
            w.line(f"const es_v {name} = {value};")
            w.line(f"{array.at(*place)} = {name}[0];")


def _variables(expr: Expr) -> set[str]:
    return {str(expr.value)} if expr.op == "var" else set().union(*map(_variables, expr.args)) if expr.args else set()
