"""The C of an FFT convolution.

Vectors run along channels, so that every transform is a straight-line program without shuffles. A tile's rows are
transformed first, only those that hold input; then the columns of the half spectrum. On the way back only the rows and
columns that are outputs are computed. A complex number is a vector of real and a vector of imaginary parts.

The kernel's spectrum, conjugate and scaled, is prepared once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import numpy as np

from edgesmith.c.expr import literal
from edgesmith.c.writer import Writer
from edgesmith.ir import DType
from edgesmith.kernels.base import PREPARE_SIGNATURE, SIGNATURE, Code, Problem, unpack
from edgesmith.kernels.conv.convolution import Convolution
from edgesmith.kernels.conv.fft_tiling import Axis, Tile, bins, operations
from edgesmith.kernels.conv.fourier import complex_transform, inverse_real_transform, real_transform
from edgesmith.kernels.epilogue import strided

__all__ = ["FftCode", "product_rows"]

T = TypeVar("T")

SPECTRA_BYTES = 4 * 2**20
"""Spectra of a task's tiles, about."""

TARGET_TASKS = 4
CHANNELS_PER_TASK = 32
"""At least."""

OPERATIONS_PER_FMA = 0.65
"""Additions and multiplications of a transform in the time of one multiply-add of many."""
SPECTRUM_SPEEDUP = 1.05
"""How much faster than other weights the spectrum comes from memory: in one stream."""
PAIR_FMAS = 8.0
"""What loading and storing a pair of vectors costs, in multiply-adds."""


def product_rows(registers: int, vectors: int, tiles: int) -> int:
    """Tiles that one register tile of the products takes: as many as fit, evenly spread."""
    most = max(1, (registers - 3 * vectors - 2) // (2 * vectors))
    return -(-tiles // -(-tiles // most))


class FftCode:
    """Writes the functions of one problem for one tiling.

    Args:
        height, width: with at least one tile each.
    """

    def __init__(self, problem: Problem, height: Axis, width: Axis) -> None:
        self.c = Convolution(problem)
        self.height, self.width = height, width
        self.target, self.lanes = problem.target, problem.target.lanes
        self.bins = bins(width.size)
        self.frequencies = height.size * self.bins
        self.pair = 2 * self.lanes
        self.pitch = self.bins * self.pair
        self.depthwise = self.c.group > 1
        self.in_vectors = -(-self.c.x.shape[1] // self.lanes)
        self.out_vectors = -(-self.c.y.shape[1] // self.lanes)
        self.image_tiles = len(height.tiles) * len(width.tiles)
        self.tiles = self.c.batch * self.image_tiles
        # A task's share: some tiles, and some output channels, for which the tiles have to be transformed anew.
        each = self.frequencies * self.pair * 4
        groups = -(-self.tiles * each * (self.in_vectors + self.out_vectors) // SPECTRA_BYTES)
        self.share = -(-self.tiles // min(groups, self.tiles))
        self.groups = -(-self.tiles // self.share)
        blocks = max(1, min(-(-TARGET_TASKS // self.groups), self.c.y.shape[1] // CHANNELS_PER_TASK))
        self.block = -(-self.out_vectors // blocks)
        self.blocks = -(-self.out_vectors // self.block)
        self.vectors = 2 if problem.target.registers >= 32 and self.block % 2 == 0 else 1
        self.rows = product_rows(problem.target.registers, self.vectors, self.share)

    @property
    def tasks(self) -> int:
        if self.depthwise:
            return self.c.batch * self.in_vectors * len(self.height.tiles)
        return self.groups * self.blocks

    @property
    def rows_floats(self) -> int:
        """A tile with its rows transformed."""
        return max(max(len(t.data), t.outputs) for t in self.height.tiles) * self.pitch

    @property
    def scratch_bytes(self) -> int:
        if self.depthwise:
            return (self.rows_floats + self.height.size * self.pair) * 4
        return (self.rows_floats + self.share * (self.in_vectors + self.block) * self.frequencies * self.pair) * 4

    @property
    def spectrum_vectors(self) -> int:
        """Vectors of filters, a task's share being whole."""
        return self.in_vectors if self.depthwise else self.blocks * self.block

    @property
    def spectrum_floats(self) -> int:
        return self.spectrum_vectors * self.c.in_channels * self.frequencies * self.pair

    @property
    def prepared_bytes(self) -> int:
        """The kernel's spectrum, and behind it room for the rows of one vector of filters while it is transformed."""
        return (self.spectrum_floats + self.c.window.kernel[0] * self.pitch) * 4

    def cycles(self) -> float:
        """Predicted cycles of all tasks on one core."""
        core = self.target.core
        operations_per_cycle = OPERATIONS_PER_FMA * core.fma_per_cycle
        spectrum_bytes_per_cycle = SPECTRUM_SPEEDUP * core.memory_bytes_per_ns / self.target.gigahertz
        down, across = self.height.tiles, self.width.tiles
        size, width = self.height.size, self.width.size
        row_in = sum(operations(width, len(t.data)) for t in across) / 2
        row_out = sum(operations(width, t.outputs) for t in across) / 2
        column_in = sum(operations(size, len(t.data)) for t in down)
        column_out = sum(operations(size, t.outputs) for t in down)
        forward = sum(len(t.data) for t in down) * row_in + len(across) * self.bins * column_in
        back = self.height.outputs * row_out + len(across) * self.bins * column_out
        if self.depthwise:
            work = self.c.batch * self.in_vectors * (forward + back + 4 * self.image_tiles * self.frequencies)
            cycles = work / operations_per_cycle
            memory = self.spectrum_floats * 4 / spectrum_bytes_per_cycle
        else:
            work = self.c.batch * (self.in_vectors * self.blocks * forward + self.out_vectors * back)
            pairs = self.frequencies * self.tiles * (self.in_vectors * self.blocks + self.out_vectors)
            steps = self.frequencies * self.tiles * self.c.in_channels * self.blocks * self.block
            step = max(4 / core.fma_per_cycle, 2 * core.fma_latency / (self.rows * self.vectors))
            cycles = work / operations_per_cycle + PAIR_FMAS / core.fma_per_cycle * pairs + steps * step
            memory = self.spectrum_floats * 4 * self.groups / spectrum_bytes_per_cycle
        return max(cycles, memory) + 0.2 * min(cycles, memory)

    def code(self) -> Code:
        c = self.c
        constants = [("weights", self._weights()), ("bias", self._bias()), *c.epilogue.constants]
        w = Writer()
        self._kernel_transforms(w)
        self._tile_transforms(w)
        if not self.depthwise:
            self._products(w)
        with w.block(PREPARE_SIGNATURE):
            first = len(c.problem.region.inputs) + 1
            w.line(f"const float *const weights = (const float *)p[{first}];")
            w.line(f"float *const s = (float *)p[{first + len(constants)}];")
            self._prepare(w)
        w.line()
        with w.block(SIGNATURE):
            w.lines(unpack(c.problem, constants, prepared="s"))
            w.line("(void)weights;")
            w.line("float *const b = (float *)scratch;")
            w.line(f"float *const a = b + {self.rows_floats};")
            with w.block("for (int32_t task = begin; task < end; ++task)"):
                if self.depthwise:
                    self._depthwise_task(w)
                else:
                    self._task(w)
        return Code(
            w.text(),
            c.label("fft", f"{self.height.size}x{self.width.size}"),
            tuple(array for _, array in constants),
            self.tasks,
            scratch_bytes=self.scratch_bytes,
            prepared_bytes=self.prepared_bytes,
            functions=c.epilogue.functions,
        )

    def _weights(self) -> np.ndarray:
        """(kh, kw, channels, filters), filters in whole vectors; one channel when depthwise."""
        ordered = self.c.weights.transpose(2, 3, 1, 0)
        room = self.spectrum_vectors * self.lanes - ordered.shape[3]
        return np.ascontiguousarray(np.pad(ordered, ((0, 0), (0, 0), (0, 0), (0, room))))

    def _bias(self) -> np.ndarray:
        bias = np.zeros(self.out_vectors * self.lanes, np.float32)
        if self.c.bias is not None:
            bias[: self.c.bias.size] = self.c.bias
        return bias

    # The transforms of one vector of channels: ``b`` holds rows of half spectra, ``a`` whole columns of them.

    def _rows_in(self, w: Writer, name: str, data: range, stride: int, lanes: int | None) -> None:
        """``x``: the pixels of a row that hold data, ``stride`` apart."""

        def load(i: int) -> str:
            at = _at("x", i * stride)
            return f"es_load({at})" if lanes is None else f"es_load_n({at}, {lanes})"

        with w.block(f"static void {name}(const float *x, float *b)"):
            program = real_transform(self.width.size, data)
            program.write(w, load, lambda i, value: w.line(f"es_store({self._bin(i)}, {value});"))
            for k in (0, self.bins - 1):
                w.line(f"es_store({_at('b', k * self.pair + self.lanes)}, es_set1(0.0f));")
        w.line()

    def _bin(self, i: int) -> str:
        """Address in a row of ``b`` of output i of ``real_transform``."""
        return _at("b", i * self.lanes if i > 1 else i * (self.bins - 1) * self.pair)

    def _part(self, pointer: str, i: int, stride: int) -> str:
        """Address of part i of a sequence of complex numbers ``stride`` floats apart."""
        return _at(pointer, i // 2 * stride + i % 2 * self.lanes)

    def _columns_in(self, w: Writer, name: str, data: range, stride: int, scale: str = "") -> None:
        """From the rows in ``b`` that hold data to a column ``a`` of numbers ``stride`` apart.

        Args:
            scale: an ``es_v`` parameter; the result is then conjugate, and that many times as large.
        """

        def store(i: int, value: str) -> None:
            scaled = f"({value}) * {'-' if i % 2 else ''}{scale}" if scale else value
            w.line(f"es_store({self._part('a', i, stride)}, {scaled});")

        with w.block(f"static void {name}(const float *b, float *a{scale and f', const es_v {scale}'})"):
            program = complex_transform(self.height.size, data, range(self.height.size))
            program.write(w, lambda i: f"es_load({self._part('b', i, self.pitch)})", store)
        w.line()

    def _columns_out(self, w: Writer, name: str, outputs: int) -> None:
        """From the column ``a`` to rows of outputs; depthwise, times the spectrum ``s`` of the kernel."""
        stride = self.pair if self.depthwise else self.share * self.block * self.pair

        def load(i: int) -> str:
            if not self.depthwise:
                return f"es_load({self._part('a', i ^ 1, stride)})"
            if i % 2 == 0:
                for pointer in "as":
                    for part, letter in enumerate("ri"):
                        w.line(
                            f"const es_v {pointer}{letter}{i // 2} = es_load({self._part(pointer, i + part, stride)});"
                        )
                return f"es_fma(ar{i // 2}, si{i // 2}, ai{i // 2} * sr{i // 2})"
            return f"es_fma(ar{i // 2}, sr{i // 2}, -(ai{i // 2} * si{i // 2}))"

        kernel = ", const float *s" if self.depthwise else ""
        with w.block(f"static void {name}(const float *a{kernel}, float *b)"):
            program = complex_transform(self.height.size, range(self.height.size), range(outputs))
            program.write(w, load, lambda i, v: w.line(f"es_store({self._part('b', i ^ 1, self.pitch)}, {v});"))
        w.line()

    def _rows_out(self, w: Writer, name: str, outputs: int, lanes: int | None) -> None:
        """From a row of half spectra to outputs, with bias and epilogue."""
        epilogue = self.c.epilogue

        def store(i: int, value: str) -> None:
            w.line(f"const es_v c{i}_0 = {value} + bias;")
            epilogue.store(w, self.c.y, [i], 1, lanes, row_axis=3)

        with w.block(f"static void {name}(const float *b, const float *biases, float *y{epilogue.parameters})"):
            w.line("const es_v bias = es_load(biases);")
            program = inverse_real_transform(self.width.size, range(outputs))
            program.write(w, lambda i: f"es_load({self._bin(i)})", store)
        w.line()

    def _kernel_transforms(self, w: Writer) -> None:
        c = self.c
        pixel = c.in_channels * self.spectrum_vectors * self.lanes
        self._rows_in(w, "@NAME@_kernel_rows", self.width.taps, pixel, None)
        stride = self.pair if self.depthwise else c.in_channels * self.block * self.pair
        self._columns_in(w, "@NAME@_kernel_columns", self.height.taps, stride, "scale")

    def _tile_transforms(self, w: Writer) -> None:
        """One function for each kind of tile, and tables of them by tile row or column."""
        x, y = self.c.x, self.c.y
        down, across = self.height.tiles, self.width.tiles
        data, outputs = (lambda t: t.data), (lambda t: t.outputs)
        for suffix, lanes in _tails(x.shape[1], self.lanes):
            write = partial(self._rows_in, w, stride=x.strides[3], lanes=lanes)
            _table(w, f"rows_in{suffix}", "const float *, float *", across, data, write)
        for suffix, lanes in _tails(y.shape[1], self.lanes):
            parameters = "const float *, const float *, float *" + ", const float *" * len(self.c.epilogue.operands)
            _table(w, f"rows_out{suffix}", parameters, across, outputs, partial(self._rows_out, w, lanes=lanes))
        stride = self.pair if self.depthwise else self.share * self.in_vectors * self.pair
        write = partial(self._columns_in, w, stride=stride)
        _table(w, "columns_in", "const float *, float *", down, data, write)
        parameters = "const float *, const float *, float *" if self.depthwise else "const float *, float *"
        _table(w, "columns_out", parameters, down, outputs, partial(self._columns_out, w))
        for name, values in (
            ("row", [t.first - self.height.pad + t.low for t in down]),
            ("rows", [len(t.data) for t in down]),
            ("column", [t.first - self.width.pad + t.low for t in across]),
        ):
            w.line(f"static const int32_t @NAME@_{name}[] = {{{', '.join(map(str, values))}}};")
        w.line()

    # What is done with them.

    def _prepare(self, w: Writer) -> None:
        c, lanes = self.c, self.lanes
        kernel_row = c.window.kernel[1] * c.in_channels * self.spectrum_vectors * lanes
        w.line(f"float *const b = s + {self.spectrum_floats};")
        with w.loop("m", self.spectrum_vectors), w.loop("c", c.in_channels):
            with w.loop("r", c.window.kernel[0]):
                x = f"weights + (ptrdiff_t)r * {kernel_row} + (c * {self.spectrum_vectors} + m) * {lanes}"
                w.line(f"@NAME@_kernel_rows({x}, b + r * {self.pitch});")
            if self.depthwise:
                w.line(f"float *const a = s + (ptrdiff_t)m * {self.frequencies * self.pair};")
            else:
                w.line(f"float *const a = s + {self._spectrum('m', 'c')};")
            with w.loop("k", self.bins):
                points = self.height.size * self.width.size
                once, twice = (f"es_set1({literal(np.float32(n / points), DType.F32)})" for n in (1, 2))
                bin_floats = self.height.size * (self.pair if self.depthwise else self._frequency_floats)
                w.line(f"const es_v scale = k == 0 || k == {self.bins - 1} ? {once} : {twice};")
                w.line(f"@NAME@_kernel_columns(b + k * {self.pair}, a + (ptrdiff_t)k * {bin_floats}, scale);")

    @property
    def _frequency_floats(self) -> int:
        """The kernel's spectrum at one frequency: channels by output channels of a block."""
        return self.c.in_channels * self.block * self.pair

    def _spectrum(self, vector: str, channel: str) -> str:
        """Offset of frequency 0 of a vector of filters and a channel: (block, frequency, panel, channel, vector)."""
        v, panel = self.vectors, self.c.in_channels * self.vectors * self.pair
        terms = [f"(ptrdiff_t)({vector} / {self.block}) * {self.frequencies * self._frequency_floats}"]
        terms.append(f"{vector} % {self.block} / {v} * {panel}")
        terms.append(f"({channel} * {v} + {vector} % {self.block} % {v}) * {self.pair}")
        return " + ".join(terms)

    def _depthwise_task(self, w: Writer) -> None:
        down = len(self.height.tiles)
        w.unravel("task", (("n", self.c.batch), ("v", self.in_vectors), ("th", down)))
        w.line(f"const float *const spectrum = s + (ptrdiff_t)v * {self.frequencies * self.pair};")
        with w.loop("tw", len(self.width.tiles)):
            self._read_rows(w)
            with w.loop("k", self.bins):
                w.line(f"@NAME@_columns_in[th](b + k * {self.pair}, a);")
                kernel = f"spectrum + (ptrdiff_t)k * {self.height.size * self.pair}"
                w.line(f"@NAME@_columns_out[th](a, {kernel}, b + k * {self.pair});")
            self._write_rows(w)

    def _task(self, w: Writer) -> None:
        share = self.share
        spectra_in = share * self.in_vectors * self.pair
        spectra_out = share * self.block * self.pair
        w.unravel("task", (("group", self.groups), ("block", self.blocks)))
        w.line(f"float *const o = a + {self.frequencies * spectra_in};")
        w.line(f"const int32_t first = group * {share};")
        w.line(f"const int32_t count = {self.tiles} - first < {share} ? {self.tiles} - first : {share};")
        last = self.out_vectors - (self.blocks - 1) * self.block
        vectors = f"block < {self.blocks - 1} ? {self.block} : {last}" if last < self.block else str(self.block)
        w.line(f"const int32_t vectors = {vectors};")
        with w.block("for (int32_t t = 0; t < count; ++t)"):
            self._locate(w)
            with w.loop("v", self.in_vectors):
                self._read_rows(w)
                w.line(f"float *const at = a + (t * {self.in_vectors} + v) * {self.pair};")
                with w.loop("k", self.bins):
                    column = f"at + (ptrdiff_t)k * {self.height.size * spectra_in}"
                    w.line(f"@NAME@_columns_in[th](b + k * {self.pair}, {column});")
        with w.loop("f", self.frequencies):
            kernel = f"(ptrdiff_t)(block * {self.frequencies} + f) * {self._frequency_floats}"
            w.line(f"const float *const sf = s + {kernel};")
            w.line(f"const float *const af = a + (ptrdiff_t)f * {spectra_in};")
            w.line(f"float *const of = o + (ptrdiff_t)f * {spectra_out};")
            self._multiply(w)
        with w.block("for (int32_t t = 0; t < count; ++t)"):
            self._locate(w)
            with w.block("for (int32_t j = 0; j < vectors; ++j)"):
                w.line(f"const float *const at = o + (t * {self.block} + j) * {self.pair};")
                with w.loop("k", self.bins):
                    column = f"at + (ptrdiff_t)k * {self.height.size * spectra_out}"
                    w.line(f"@NAME@_columns_out[th]({column}, b + k * {self.pair});")
                w.line(f"const int32_t v = block * {self.block} + j;")
                self._write_rows(w)

    def _locate(self, w: Writer) -> None:
        """Write which tile of which image tile ``t`` of a task is."""
        tiles = (("n", self.c.batch), ("th", len(self.height.tiles)), ("tw", len(self.width.tiles)))
        w.line("const int32_t tile = first + t;")
        if self.tiles == 1:
            w.line("(void)tile;")
        w.unravel("tile", tiles)

    def _read_rows(self, w: Writer) -> None:
        """Transform the rows of tile ``th``, ``tw`` of image ``n`` and channels ``v``."""
        position = [(0, "n"), (1, f"v * {self.lanes}"), (2, "@NAME@_row[th]"), (3, "@NAME@_column[tw]")]
        w.line(f"const float *const x = x0 + {strided(self.c.x, position)};")
        rows_in = _choice("rows_in", self.c.x.shape[1], self.lanes)
        with w.block("for (int32_t r = 0; r < @NAME@_rows[th]; ++r)"):
            w.line(f"{rows_in}[tw](x + r * {self.c.x.strides[2]}, b + r * {self.pitch});")

    def _write_rows(self, w: Writer) -> None:
        """Write the outputs of tile ``th``, ``tw`` of image ``n`` and channels ``v``."""
        height, step = self.height.outputs, self.height.tiles[0].outputs
        across = self.width.tiles[0].outputs
        w.line(f"const int32_t top = th * {step}, left = tw * {across};")
        w.line(f"const int32_t bottom = top + {step} < {height} ? top + {step} : {height};")
        rows_out = _choice("rows_out", self.c.y.shape[1], self.lanes)
        with w.block("for (int32_t oh = top; oh < bottom; ++oh)"):
            position = [(0, "n"), (1, f"v * {self.lanes}"), (2, "oh"), (3, "left")]
            y = f"y0 + {strided(self.c.y, position)}{self.c.epilogue.arguments(position)}"
            w.line(f"{rows_out}[tw](b + (oh - top) * {self.pitch}, bias + v * {self.lanes}, {y});")

    # Products of spectra: complex matrix products, one for each frequency.

    def _heights(self) -> list[int]:
        """Rows of the register tiles that occur."""
        last = self.tiles - (self.groups - 1) * self.share
        rest = {count % self.rows for count in (self.share, last)} - {0}
        return [self.rows, *sorted(rest - {self.rows}, reverse=True)]

    def _products(self, w: Writer) -> None:
        for rows in self._heights():
            with w.block(f"static void @NAME@_multiply_{rows}(const float *a, const float *s, float *o)"):
                self._product(w, rows)
            w.line()

    def _product(self, w: Writer, rows: int) -> None:
        """``rows`` tiles by a panel of output channels."""
        vectors, lanes = range(self.vectors), self.lanes
        for r in range(rows):
            w.line("es_v " + ", ".join(f"r{r}_{v} = es_set1(0.0f), i{r}_{v} = es_set1(0.0f)" for v in vectors) + ";")
        whole, rest = divmod(self.c.in_channels, lanes)

        def steps(count: int) -> None:
            with w.loop("c", count):
                for v in vectors:
                    w.line(f"const es_v re{v} = es_load(s + {v * self.pair});")
                    w.line(f"const es_v im{v} = es_load(s + {v * self.pair + lanes}), minus{v} = -im{v};")
                for r in range(rows):
                    at = r * self.in_vectors * self.pair
                    w.line(f"const es_v x{r} = es_set1(a[{at} + c]), y{r} = es_set1(a[{at + lanes} + c]);")
                    for v in vectors:
                        w.line(f"r{r}_{v} = es_fma(x{r}, re{v}, r{r}_{v});")
                        w.line(f"i{r}_{v} = es_fma(x{r}, im{v}, i{r}_{v});")
                        w.line(f"r{r}_{v} = es_fma(y{r}, minus{v}, r{r}_{v});")
                        w.line(f"i{r}_{v} = es_fma(y{r}, re{v}, i{r}_{v});")
                w.line(f"s += {self.vectors * self.pair};")

        if whole:
            with w.block(f"for (int32_t k = 0; k < {whole}; ++k)"):
                steps(lanes)
                w.line(f"a += {self.pair};")
        if rest:
            steps(rest)
        for r in range(rows):
            for v in vectors:
                at = (r * self.block + v) * self.pair
                w.line(f"es_store({_at('o', at)}, r{r}_{v});")
                w.line(f"es_store({_at('o', at + lanes)}, i{r}_{v});")

    def _multiply(self, w: Writer) -> None:
        """All tiles and output channels at one frequency."""
        with w.block(f"for (int32_t j = 0; j < {self.block}; j += {self.vectors})"):
            w.line("int32_t t = 0;")
            kernel = f"sf + j * {self.c.in_channels * self.pair}"
            for rows in self._heights():
                bound = f"t + {rows} <= count"
                with w.block(f"for (; {bound}; t += {rows})"):
                    data = f"af + t * {self.in_vectors * self.pair}"
                    w.line(f"@NAME@_multiply_{rows}({data}, {kernel}, of + (t * {self.block} + j) * {self.pair});")


def _at(pointer: str, offset: int) -> str:
    return f"{pointer} + {offset}" if offset else pointer


def _tails(channels: int, lanes: int) -> list[tuple[str, int | None]]:
    """Suffix of the functions for whole and for partial vectors of channels, as far as they occur."""
    whole: list[tuple[str, int | None]] = [("", None)] if channels >= lanes else []
    return whole + ([("_tail", channels % lanes)] if channels % lanes else [])


def _choice(name: str, channels: int, lanes: int) -> str:
    """C text of the table for the vector of channels ``v``."""
    names = [f"@NAME@_{name}{suffix}" for suffix, _ in _tails(channels, lanes)]
    return names[0] if len(names) == 1 else f"(v < {channels // lanes} ? {names[0]} : {names[1]})"


def _table(
    w: Writer,
    name: str,
    parameters: str,
    tiles: Sequence[Tile],
    kind: Callable[[Tile], T],
    write: Callable[[str, T], None],
) -> None:
    """One function for each kind of tile, and an array of them in the order of the tiles."""
    kinds = list(dict.fromkeys(map(kind, tiles)))
    for number, found in enumerate(kinds):
        write(f"@NAME@_{name}_{number}", found)
    members = ", ".join(f"@NAME@_{name}_{kinds.index(kind(t))}" for t in tiles)
    w.line(f"static void (*const @NAME@_{name}[])({parameters}) = {{{members}}};")
    w.line()
