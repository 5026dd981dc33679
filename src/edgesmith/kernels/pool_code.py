"""The C of a pool with vectors over the channels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial

import numpy as np

from edgesmith.c.expr import literal
from edgesmith.c.writer import Writer
from edgesmith.ir import DType
from edgesmith.kernels.base import SIGNATURE, Code, unpack
from edgesmith.kernels.epilogue import Epilogue
from edgesmith.kernels.lanes import load, store
from edgesmith.kernels.pool_geometry import BUFFERED, CARRIED, UNROLLED_TAPS, PoolGeometry
from edgesmith.ops import Array
from edgesmith.ops.average_pool import AveragePool
from edgesmith.ops.lp_pool import LpPool
from edgesmith.ops.max_pool import MaxPool

__all__ = ["PoolCode"]


class PoolCode:
    """Writes the loops over windows, and what follows them."""

    def __init__(self, geometry: PoolGeometry) -> None:
        self.g = geometry
        self.epilogue = Epilogue(geometry.problem, halves=True)
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
        label = f"{op}_{form}_{g.element}{self.epilogue.label}_{g.panels.vectors}v"
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
        return load(self.g.element, at, tail if tail and v == vectors - 1 else None)

    @property
    def _start(self) -> str:
        start = float(np.finfo(np.float32).min) if isinstance(self.g.op, MaxPool) else 0.0
        return f"es_set1({literal(start, DType.F32)})"

    def _combine(self, accumulator: str, value: str) -> str:
        op = self.g.op
        if isinstance(op, MaxPool):
            return self._join(accumulator, value)
        if isinstance(op, LpPool):
            power = f"es_fma({value}, {value}, {accumulator})"
            return power if op.p == 2 else f"{accumulator} + es_abs({value})"
        return f"{accumulator} + {value}"

    def _join(self, accumulator: str, value: str) -> str:
        """Two partial results as one; a maximum begins with a number, so that it is one."""
        if not isinstance(self.g.op, MaxPool):
            return f"{accumulator} + {value}"
        maximum = "max_number" if self.g.problem.target.has("max_number") else "max"
        return f"es_{maximum}({value}, {accumulator})"

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
            w.line(store(self.epilogue.dtype, f"&{self.y.at(*index)}", value, lanes))

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
            w.line(f"const {g.element.c} *const x = x0 + {_sum('row', self._position(1, 'ox'))};")
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
            w.line(f"const {g.element.c} *const x = x0 + {_sum('row', _times('ix', g.steps[1], g.input[1]), 'c')};")
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
