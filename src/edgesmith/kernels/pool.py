"""Pooling with vectors over the channels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import ClassVar

import numpy as np

from edgesmith.c.expr import literal
from edgesmith.c.writer import Writer
from edgesmith.ir import DType, Graph, Node
from edgesmith.kernels.base import SIGNATURE, Code, Kernel, Problem, Reject, Schedule, kernel, unpack
from edgesmith.kernels.cycles import FLOAT_BYTES, LINE_BYTES, far_cycles, l1_ways
from edgesmith.kernels.epilogue import Epilogue
from edgesmith.kernels.region import Region, epilogue_chains
from edgesmith.kernels.tile import GIGAHERTZ, Panels
from edgesmith.ops import Array
from edgesmith.ops.average_pool import AveragePool
from edgesmith.ops.lp_pool import LpPool
from edgesmith.ops.max_pool import MaxPool
from edgesmith.ops.pool import Pool

UNROLLED_TAPS = 25
DIRECT, BUFFERED, CARRIED = 0, 1, 2
CONFLICTS = 3.0
"""How much longer a column's rows take to load when the first-level cache cannot keep them."""


@kernel
class VectorPool(Kernel):
    """Windows over one or two spatial axes, each tap a vector of channels.

    Schedule:
        separable: reduce the rows of the window for every column, then the columns of each output, which costs
            kh + kw instead of kh x kw steps for stride 1. 1: the columns of a row are kept in memory. 2: those that the
            next output shares are kept in registers, and all rows are done for a few channels before the next ones,
            so that the rows that windows share stay in the first-level cache.
        vectors: vectors of channels computed together.
    """

    name: ClassVar[str] = "pool"

    def regions(self, graph: Graph, anchor: Node) -> Iterator[Region]:
        if isinstance(anchor.op, Pool):
            yield from epilogue_chains(graph, anchor)

    def accepts(self, problem: Problem) -> Reject | None:
        op = problem.anchor.op
        if not isinstance(op, MaxPool | AveragePool | LpPool):
            return Reject("not a pool")
        if problem.target.isa is None:
            return Reject("needs vectors; the target is portable C")
        if isinstance(op, MaxPool) and op.indices:
            return Reject("returns indices")
        if isinstance(op, LpPool) and op.p > 2:
            return Reject(f"norm of order {op.p}; vectors compute orders 1 and 2")
        x = problem.anchor.inputs[0]
        if problem.type(x).dtype is not DType.F32 or x not in problem.region.inputs:
            return Reject(f"pools f32 computed at run time, not {problem.type(x)}")
        if problem.type(x).rank > 4:
            return Reject(f"{problem.type(x).rank - 2} spatial axes; vectors pool over one or two")
        epilogue = Epilogue(problem)
        if epilogue.reject:
            return Reject(epilogue.reject)
        for value in (x, *problem.region.outputs):
            view = problem.view(value)
            if view.shape[1] == 1 or view.strides[1] != 1:
                return Reject(f"the channels of {view} are not innermost")
        return None

    def schedules(self, problem: Problem) -> Sequence[Schedule]:
        op = problem.anchor.op
        assert isinstance(op, Pool)
        needed = -(-problem.type(problem.region.outputs[0]).shape[1] // problem.target.lanes)
        window = op.window
        shared = window.kernel[-1] - window.strides[-1]
        found = []
        for vectors in (4, 2, 1):
            if vectors > needed and vectors > 1:
                continue
            carried = window.dilations[-1] == 1 and (shared + 1) * vectors + 2 <= problem.target.registers
            forms = (DIRECT, BUFFERED, CARRIED)[: 1 if shared <= 0 else 3 if carried else 2]
            found += [{"separable": form, "vectors": vectors} for form in forms]
        return found

    def cost(self, problem: Problem, schedule: Schedule) -> float:
        return 50 + _Geometry(problem, schedule).cycles() / GIGAHERTZ

    def in_place(self, problem: Problem) -> tuple[str, ...]:
        return Epilogue(problem).in_place(problem)

    def emit(self, problem: Problem, schedule: Schedule) -> Code:
        return _Emitter(_Geometry(problem, schedule)).code()


class _Geometry:
    """Extents of a problem as two-dimensional: a 1-D pool has one row."""

    def __init__(self, problem: Problem, schedule: Schedule) -> None:
        op = problem.anchor.op
        assert isinstance(op, Pool)
        self.problem, self.op = problem, op
        x, y = problem.view(problem.anchor.inputs[0]), problem.view(problem.region.outputs[0])
        self.rank = x.rank
        window = op.window

        def pair(values: Sequence[int], unit: int) -> tuple[int, int]:
            return (unit, values[0]) if len(values) == 1 else (values[0], values[1])

        self.kernel, self.strides = pair(window.kernel, 1), pair(window.strides, 1)
        self.dilations, self.pads = pair(window.dilations, 1), pair(window.pads_begin, 0)
        self.pads_end = pair(window.pads_end, 0)
        self.input, self.output = pair(x.shape[2:], 1), pair(y.shape[2:], 1)
        self.steps = pair(x.strides[2:], 0)
        self.batch, self.channels, self.image = x.shape[0], x.shape[1], x.strides[0]
        self.form = schedule["separable"]
        self.panels = Panels(self.channels, problem.target.lanes, schedule["vectors"])

    def first(self, axis: int) -> int:
        """Input position of the first tap of output 0."""
        return -self.pads[axis]

    def has_edge(self, axis: int) -> bool:
        """Whether some window reaches outside the input along an axis."""
        last = (self.output[axis] - 1) * self.strides[axis] + (self.kernel[axis] - 1) * self.dilations[axis]
        return self.pads[axis] > 0 or last - self.pads[axis] >= self.input[axis]

    @property
    def columns(self) -> tuple[int, int]:
        """Columns of pad before and after the row of column results that the separable form keeps."""
        last = (self.output[1] - 1) * self.strides[1] + (self.kernel[1] - 1) * self.dilations[1]
        return self.pads[1], max(0, last - self.pads[1] - self.input[1] + 1)

    @property
    def scratch_floats(self) -> int:
        width = self.panels.vectors * self.panels.lanes
        return (sum(self.columns) + self.input[1]) * width if self.form == BUFFERED else 0

    def cycles(self) -> float:
        """Taps and memory beyond the second-level cache, which hide little of each other; fitted to measurements."""
        rows, columns = self.output
        kh, kw = self.kernel
        per_vector = self.panels.vectors
        tap = 0.6 if self.panels.lanes == 16 else 0.45
        looped = tap + 1.6 / per_vector
        vectors = -(-self.channels // self.panels.lanes) * self.batch
        inside = [
            (n - 2) / n if self.has_edge(a) and n > 2 else float(not self.has_edge(a))
            for a, n in enumerate((rows, columns))
        ]
        if self.form == CARRIED:
            row_tap = looped if self.has_edge(0) else tap
            again = 1.0 if self._rows_stay() else CONFLICTS
            taps = rows * columns * (self.strides[1] * kh * row_tap * again + tap * kw + 1.0)
            loops = rows * columns * 3.0
        elif self.form == BUFFERED:
            row_tap = looped if self.has_edge(0) else tap
            taps = rows * (self.input[1] * (row_tap * kh + 1.5) + columns * (tap * kw + 1.5))
            loops = rows * (self.input[1] + columns) * 3.0
        else:
            unrolled = inside[0] * inside[1] if kh * kw <= UNROLLED_TAPS else 0.0
            taps = rows * columns * (kh * kw * (unrolled * tap + (1 - unrolled) * looped) + 1.0)
            loops = rows * columns * 6.0
        moved = 4 * self.channels * self.batch * (self.input[0] * self.input[1] + rows * columns)
        return taps * vectors + loops * vectors / per_vector + far_cycles(moved, self.problem.target)

    def _rows_stay(self) -> bool:
        """Whether the rows of a window, a few channels of each column, stay in the first-level cache."""
        target, floats = self.problem.target, LINE_BYTES // FLOAT_BYTES
        sets = max(target.l1_bytes // (LINE_BYTES * l1_ways(target)), 1)
        wide = max(self.panels.vectors * self.panels.lanes // floats, 1)
        distinct = min(sets // math.gcd(max(self.steps[1] // floats, 1), sets) * wide, sets)
        return self.kernel[0] * self.input[1] * wide <= l1_ways(target) * distinct


class _Emitter:
    def __init__(self, geometry: _Geometry) -> None:
        self.g = geometry
        self.epilogue = Epilogue(geometry.problem)
        self.lanes = geometry.panels.lanes
        self.w = Writer()
        self.divide = ""
        """What makes an average of a sum, see ``_scale``."""
        self.y = Array("y0", geometry.problem.view(geometry.problem.region.outputs[0]))

    def code(self) -> Code:
        g, w = self.g, self.w
        with w.block(SIGNATURE):
            w.lines(unpack(g.problem, self.epilogue.constants))
            if g.form == BUFFERED:
                self._scratch()
            else:
                w.line("(void)scratch;")
            if g.form == CARRIED:
                self._panels(self._carried)
            else:
                with self._rows():
                    if g.form == BUFFERED:
                        self._panels(self._buffered)
                    else:
                        self._direct()
        op = g.op.name.lower()
        form = ("direct", "separable", "carried")[g.form]
        label = f"{op}_{form}_f32{self.epilogue.label}_{g.panels.vectors}v"
        constants = tuple(array for _, array in self.epilogue.constants)
        return Code(w.text(), label, constants, g.batch * g.output[0], 4 * g.scratch_floats, self.epilogue.functions)

    @contextmanager
    def _rows(self) -> Iterator[None]:
        """Loop over the rows of outputs."""
        g, w = self.g, self.w
        with w.block("for (int32_t task = begin; task < end; ++task)"):
            w.unravel("task", (("n", g.batch), ("oy", g.output[0])))
            self._range(0, "oy", "ky")
            w.line(f"const ptrdiff_t row = {_sum(_times('(ptrdiff_t)n', g.image, g.batch), self._position(0, 'oy'))};")
            yield

    def _position(self, axis: int, index: str) -> str:
        """C text of the offset of an output's first tap along an axis."""
        g = self.g
        step = g.steps[axis]
        start = g.first(axis) * step
        text = _times(index, g.strides[axis] * step, g.output[axis])
        return _sum(text, str(start)) if start >= 0 else f"{text} - {-start}"

    def _range(self, axis: int, output: str, tap: str) -> None:
        """Write the taps ``<tap>0`` to ``<tap>1`` of an output that lie inside the input."""
        g, w = self.g, self.w
        if not g.has_edge(axis):
            return
        s, d, k, n = g.strides[axis], g.dilations[axis], g.kernel[axis], g.input[axis]
        position = f"i{tap[1]}"
        w.line(f"const int32_t {position} = {_sum(_times(output, s, g.output[axis]))} - {g.pads[axis]};")
        before, after = f"-{position}", f"{n} - {position}"
        if d > 1:
            before, after = f"({before} + {d - 1}) / {d}", f"({after} + {d - 1}) / {d}"
        w.line(f"const int32_t {tap}0 = {position} < 0 ? {before} : 0;")
        w.line(f"const int32_t {tap}1 = {after} < {k} ? {after} : {k};")

    def _whole(self, *axes: int) -> str:
        """C condition that all taps along some axes lie inside the input; empty when they always do."""
        g = self.g
        names = ("ky", "kx")
        return " && ".join(f"{names[a]}1 - {names[a]}0 == {g.kernel[a]}" for a in axes if g.has_edge(a))

    def _panels(self, body: Callable[[int, int | None], None]) -> None:
        """Write ``body(vectors, lanes of a partial last one)`` for the panels of channels."""
        g, w = self.g, self.w
        width = g.panels.vectors * self.lanes
        if g.panels.full:
            with w.loop("c", g.panels.full * width, 0, width):
                body(g.panels.vectors, None)
        if g.panels.tail_vectors:
            with w.block(""):
                w.line(f"enum {{ c = {g.panels.full * width} }};")
                body(g.panels.tail_vectors, g.panels.tail_lanes)

    # One vector

    def _load(self, offset: str, v: int, vectors: int, tail: int | None) -> str:
        at = f"&{offset}" if offset.endswith("]") else offset
        return f"es_load_n({at}, {tail})" if tail and v == vectors - 1 else f"es_load({at})"

    @property
    def _start(self) -> str:
        start = float(np.finfo(np.float32).min) if isinstance(self.g.op, MaxPool) else 0.0
        return f"es_set1({literal(start, DType.F32)})"

    def _combine(self, accumulator: str, value: str) -> str:
        op = self.g.op
        if isinstance(op, MaxPool):
            return f"es_max({value}, {accumulator})"
        if isinstance(op, LpPool):
            power = f"es_fma({value}, {value}, {accumulator})"
            return power if op.p == 2 else f"{accumulator} + es_abs({value})"
        return f"{accumulator} + {value}"

    def _join(self, accumulator: str, value: str) -> str:
        """Two partial results as one."""
        maximum = isinstance(self.g.op, MaxPool)
        return f"es_max({value}, {accumulator})" if maximum else f"{accumulator} + {value}"

    def _counts(self, axis: int, output: str, tap: str) -> str:
        """C text of the number of elements that an average counts along an axis."""
        g, op = self.g, self.g.op
        assert isinstance(op, AveragePool)
        k, s, d = g.kernel[axis], g.strides[axis], g.dilations[axis]
        if not op.count_include_pad:
            return f"({tap}1 - {tap}0)" if g.has_edge(axis) else str(k)
        room = g.pads[axis] + g.input[axis] + g.pads_end[axis]
        if (g.output[axis] - 1) * s + (k - 1) * d < room:
            return str(k)
        self.w.line(f"const int32_t room{axis} = ({room - 1} - {output} * {s}) / {d} + 1;")
        return f"(room{axis} < {k} ? room{axis} : {k})"

    def _scale(self, rows: str = "", columns: str = "") -> None:
        """Write ``count``, the number of elements that an output averages, or its reciprocal where that is exact.

        Args:
            rows, columns: C texts of what is counted along the axes where that is known.
        """
        if isinstance(self.g.op, AveragePool):
            rows, columns = rows or self._counts(0, "oy", "ky"), columns or self._counts(1, "ox", "kx")
            whole = rows.isdigit() and columns.isdigit()
            number = int(rows) * int(columns) if whole else 0
            self.divide = "* reciprocal" if number & (number - 1) == 0 < number else "/ count"
            count = f"{number}.0f" if whole else f"(float)({rows} * {columns})"
            reciprocal = f"const es_v reciprocal = es_set1(1.0f / {count});"
            self.w.line(reciprocal if "*" in self.divide else f"const es_v count = es_set1({count});")

    def _finish(self, vectors: int, tail: int | None) -> None:
        """Write the epilogue of the accumulators and their stores."""
        g, w = self.g, self.w
        for v in range(vectors):
            value = f"a{v}"
            if isinstance(g.op, AveragePool):
                value = f"{value} {self.divide}"
            elif isinstance(g.op, LpPool) and g.op.p == 2:
                value = f"es_sqrt({value})"
            lanes = tail if v == vectors - 1 else None
            channel = f"c + {v * self.lanes}" if v else "c"
            index = ("n", channel, "oy", "ox") if g.rank == 4 else ("n", channel, "ox")
            if self.epilogue.nodes:
                w.line(f"const es_v r{v} = {value};")
                value = self.epilogue.apply(w, f"r{v}", partial(_address, index), lanes)
            store = f"es_store_n(&{self.y.at(*index)}, {value}, {lanes});" if lanes else None
            w.line(store or f"es_store(&{self.y.at(*index)}, {value});")

    def _taps(self, axis: int, unrolled: bool, tap: str) -> str | range:
        g = self.g
        if unrolled:
            return range(g.kernel[axis])
        first, last = (f"{tap}0", f"{tap}1") if g.has_edge(axis) else ("0", str(g.kernel[axis]))
        return f"for (int32_t {tap} = {first}; {tap} < {last}; ++{tap})"

    # Direct form

    def _direct(self) -> None:
        g, w = self.g, self.w
        with w.loop("ox", g.output[1]):
            self._range(1, "ox", "kx")
            w.line(f"const float *const x = x0 + {_sum('row', self._position(1, 'ox'))};")
            self._scale()
            whole = self._whole(0, 1)
            small = g.kernel[0] * g.kernel[1] <= UNROLLED_TAPS
            if small:
                with w.block(f"if ({whole})" if whole else ""):
                    self._panels(lambda vectors, tail: self._window(vectors, tail, True))
            if whole or not small:
                with w.block("else" if small else ""):
                    self._panels(lambda vectors, tail: self._window(vectors, tail, False))

    def _window(self, vectors: int, tail: int | None, unrolled: bool) -> None:
        g, w = self.g, self.w
        w.line("es_v " + ", ".join(f"a{v} = {self._start}" for v in range(vectors)) + ";")

        def combine(offset: str) -> None:
            for v in range(vectors):
                at = f"x + {_sum(offset, 'c', str(v * self.lanes))}"
                self._accumulate(f"a{v}", self._load(at, v, vectors, tail))

        steps = [g.dilations[a] * g.steps[a] for a in (0, 1)]
        if unrolled:
            for ky in range(g.kernel[0]):
                for kx in range(g.kernel[1]):
                    combine(str(ky * steps[0] + kx * steps[1]))
        else:
            with w.block(str(self._taps(0, False, "ky"))), w.block(str(self._taps(1, False, "kx"))):
                combine(_sum(_times("ky", steps[0], g.kernel[0]), _times("kx", steps[1], g.kernel[1])))
        self._finish(vectors, tail)

    def _accumulate(self, accumulator: str, value: str) -> None:
        w = self.w
        if isinstance(self.g.op, LpPool) and self.g.op.p == 2:
            with w.block(""):
                w.line(f"const es_v v = {value};")
                w.line(f"{accumulator} = {self._combine(accumulator, 'v')};")
        else:
            w.line(f"{accumulator} = {self._combine(accumulator, value)};")

    # Columns in memory

    def _scratch(self) -> None:
        """Write the row of column results, with the pads around it filled once."""
        g, w = self.g, self.w
        width = g.panels.vectors * self.lanes
        before, after = g.columns
        w.line("float *const columns = scratch;")
        for count, start in ((before, 0), (after, before + g.input[1])):
            if count:
                with w.loop("i", (start + count) * width, start * width, self.lanes):
                    w.line(f"es_store(columns + i, {self._start});")

    def _buffered(self, vectors: int, tail: int | None) -> None:
        g, w = self.g, self.w
        width = g.panels.vectors * self.lanes
        before, _ = g.columns
        with w.loop("ix", g.input[1]):
            w.line(f"const float *const x = x0 + {_sum('row', _times('ix', g.steps[1], g.input[1]), 'c')};")
            w.line("es_v " + ", ".join(f"a{v} = {self._start}" for v in range(vectors)) + ";")
            step = g.dilations[0] * g.steps[0]

            def combine(offset: str) -> None:
                for v in range(vectors):
                    at = f"x + {_sum(offset, str(v * self.lanes))}"
                    self._accumulate(f"a{v}", self._load(at, v, vectors, tail))

            if g.has_edge(0) or g.kernel[0] > UNROLLED_TAPS:
                with w.block(str(self._taps(0, False, "ky"))):
                    combine(_times("ky", step, g.kernel[0]))
            else:
                for ky in range(g.kernel[0]):
                    combine(str(ky * step))
            for v in range(vectors):
                place = _sum(_times("ix", width, g.input[1]), str(before * width + v * self.lanes))
                w.line(f"es_store(columns + {place}, a{v});")
        with w.loop("ox", g.output[1]):
            if isinstance(g.op, AveragePool) and not g.op.count_include_pad:
                self._range(1, "ox", "kx")
            self._scale()
            w.line(f"const float *const x = columns + {_times('ox', g.strides[1] * width, g.output[1])};")
            w.line("es_v " + ", ".join(f"a{v} = es_load(x + {v * self.lanes})" for v in range(vectors)) + ";")
            for kx in range(1, g.kernel[1]):
                for v in range(vectors):
                    at = kx * g.dilations[1] * width + v * self.lanes
                    w.line(f"a{v} = {self._join(f'a{v}', f'es_load(x + {at})')};")
            self._finish(vectors, tail)

    # Columns in registers

    def _carried(self, vectors: int, tail: int | None) -> None:
        w = self.w
        with self._rows():
            whole = self._whole(0)
            small = self.g.kernel[0] <= UNROLLED_TAPS
            if small:
                with w.block(f"if ({whole})" if whole else ""):
                    self._carried_row(vectors, tail, True)
            if whole or not small:
                with w.block("else" if small else ""):
                    self._carried_row(vectors, tail, False)

    def _carried_row(self, vectors: int, tail: int | None, unrolled: bool) -> None:
        """Write a row of outputs: those with columns outside the input one by one, the others as a loop."""
        g, w = self.g, self.w
        shared = g.kernel[1] - g.strides[1]
        for j in range(shared):
            w.line("es_v " + ", ".join(f"m{j}_{v} = {self._start}" for v in range(vectors)) + ";")
            if self._inside(j, 0):
                self._column(f"m{j}", str((j - g.pads[1]) * g.steps[1]), vectors, tail, unrolled)
        edges = [ox for ox in range(g.output[1]) if not all(self._inside(j, ox) for j in range(g.kernel[1]))]
        first = next((ox for ox in range(g.output[1]) if ox not in edges), g.output[1])
        last = next((ox for ox in range(first, g.output[1]) if ox in edges), g.output[1])
        for ox in range(first):
            self._carried_output(ox, vectors, tail, unrolled)
        if first < last:
            with w.loop("ox", last, first):
                self._carried_output(None, vectors, tail, unrolled)
        for ox in range(last, g.output[1]):
            self._carried_output(ox, vectors, tail, unrolled)

    def _inside(self, tap: int, ox: int) -> bool:
        g = self.g
        return 0 <= ox * g.strides[1] + tap - g.pads[1] < g.input[1]

    def _carried_output(self, ox: int | None, vectors: int, tail: int | None, unrolled: bool) -> None:
        """Write one output.

        Args:
            ox: its number; None: the C variable, and all its columns lie inside the input.
        """
        g, w = self.g, self.w
        taps = range(g.kernel[1])
        shared = g.kernel[1] - g.strides[1]
        with w.block("") if ox is not None else nullcontext():
            if ox is not None:
                w.line(f"enum {{ ox = {ox} }};")
            for j in taps[shared:]:
                w.line("es_v " + ", ".join(f"m{j}_{v} = {self._start}" for v in range(vectors)) + ";")
                if ox is None or self._inside(j, ox):
                    start = (j - g.pads[1]) * g.steps[1]
                    text = _times("ox", g.strides[1] * g.steps[1], 2 if ox is None else g.output[1])
                    self._column(
                        f"m{j}", f"{text} + {start}" if start >= 0 else f"{text} - {-start}", vectors, tail, unrolled
                    )
            rows = str(g.kernel[0]) if unrolled else ""
            self._scale(rows, str(g.kernel[1]) if ox is None else self._counted_columns(ox))
            for v in range(vectors):
                value = f"m0_{v}"
                for j in taps[1:]:
                    value = self._join(value, f"m{j}_{v}")
                w.line(f"const es_v a{v} = {value};")
            self._finish(vectors, tail)
            for j in range(shared):
                for v in range(vectors):
                    w.line(f"m{j}_{v} = m{j + g.strides[1]}_{v};")

    def _counted_columns(self, ox: int) -> str:
        """Number of columns that an average counts for an output."""
        g, op = self.g, self.g.op
        include = isinstance(op, AveragePool) and op.count_include_pad
        end = g.input[1] + (g.pads_end[1] if include else 0)
        begin = -g.pads[1] if include else 0
        first = ox * g.strides[1] - g.pads[1]
        return str(sum(begin <= first + j < end for j in range(g.kernel[1])))

    def _column(self, name: str, offset: str, vectors: int, tail: int | None, unrolled: bool) -> None:
        """Write the reduction of the window's rows in one column."""
        g, w = self.g, self.w
        step = g.dilations[0] * g.steps[0]

        def combine(shift: str) -> None:
            for v in range(vectors):
                at = f"x0 + (row + {_sum(offset, shift, 'c', str(v * self.lanes))})"
                self._accumulate(f"{name}_{v}", self._load(at, v, vectors, tail))

        if unrolled:
            for ky in range(g.kernel[0]):
                combine(str(ky * step))
        else:
            with w.block(str(self._taps(0, False, "ky"))):
                combine(_times("ky", step, g.kernel[0]))


def _address(index: tuple[str, ...], array: Array) -> str:
    return f"&{array.at(*index)}"


def _times(index: str, factor: int, extent: int) -> str:
    """C text of a product; 0 where the index can only be 0."""
    if extent == 1 or factor == 0:
        return "0"
    return index if factor == 1 else f"{index} * {factor}"


def _sum(*terms: str) -> str:
    return " + ".join(t for t in terms if t != "0") or "0"
