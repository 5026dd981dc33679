"""The C of a depthwise convolution of integers."""

from __future__ import annotations

from functools import cached_property, partial
from math import prod

import numpy as np

from edgesmith.c.writer import Writer
from edgesmith.ir import DType
from edgesmith.kernels.base import PREPARE_SIGNATURE, SIGNATURE, Code, unpack
from edgesmith.kernels.epilogue import strided
from edgesmith.kernels.gemm.row_tiles import RowTiles
from edgesmith.kernels.integer.depthwise_tiling import (
    Blocking,
    Tile,
    input_shift,
    multiplied_weights,
    packed_columns,
    packed_lines,
)
from edgesmith.kernels.integer.lines import starting_sums
from edgesmith.kernels.integer.wide import partial_sum, write_floats, write_words
from edgesmith.kernels.integer.window import IntegerWindow
from edgesmith.kernels.lanes import load
from edgesmith.ops import Array

__all__ = ["DepthwiseCode"]


class DepthwiseCode:
    """Writes the copying, the tiles and the loops."""

    def __init__(self, window: IntegerWindow, b: Blocking) -> None:
        self.w, self.b, self.tile = window, b, Tile(window, b)
        self.lanes = window.problem.target.lanes
        self.channels = window.channels
        self.vectors = -(-self.channels // self.lanes)
        self.columns = RowTiles.of(window.y.shape[2], b.width)
        self.bands = -(-window.y.shape[1] // b.height)
        self.pixel = b.vectors * self.lanes
        """Packed bytes of a pixel."""
        self.line = packed_columns(window, self.tile) * self.pixel
        self.shift = input_shift(window, b)
        """What is added to inputs when they are copied."""
        self.packed = DType.F32 if b.floats else DType.I16 if self.shift else window.x.dtype
        self.digits = multiplied_weights(window) or []
        taps = window.kernel[0] * window.kernel[1]
        pairs = len(self.tile.shifts) * self.tile.weight_pairs * window.kernel[1]
        self.prepared = taps if b.floats else 2 * pairs * len(self.digits)
        """Prepared weights of a channel."""
        self.weight = DType.F32 if b.floats else DType.I16

    def code(self) -> Code:
        epilogue = self.w.epilogue
        constants = [("weights", self._weights()), ("bias", self.starts), *epilogue.constants]
        w = Writer()
        self._prepare(w, len(constants))
        self._pack(w)
        for width, _ in self.columns.heights:
            for height in self._heights():
                for tail in self._tails():
                    self._tile(w, height, width, tail)
        first = len(self.w.problem.region.inputs) + 1 + len(constants)
        with w.block(SIGNATURE):
            w.lines(unpack(self.w.problem, constants))
            kind = f"const {self.weight.c} *"
            w.line(f"{kind}const prepared = ({kind})p[{first}];")
            w.line("(void)weights;")
            tasks = self._tasks(w)
        size = "x".join(map(str, self.w.kernel))
        label = f"convinteger{size}_depthwise_{self.w.input_type}{epilogue.label}_{self.b.height}x{self.b.width}"
        return Code(
            w.text(),
            label,
            tuple(a for _, a in constants),
            tasks,
            packed_lines(self.tile, self.b) * self.line * self.packed.itemsize,
            functions=epilogue.functions,
            prepared_bytes=self.vectors * self.lanes * self.prepared * self.weight.itemsize,
        )

    def _weights(self) -> np.ndarray:
        """(digits, channels, kernel lines, kernel columns), flat, in the smallest type that holds them."""
        flat = np.stack(self.digits).reshape(-1)
        return flat.astype(np.int8) if flat.min() >= -128 and flat.max() <= 127 else flat

    @cached_property
    def starts(self) -> np.ndarray:
        """What the sums start with."""
        return starting_sums(self.w, self.shift, self.lanes)

    def _prepare(self, w: Writer, constants: int) -> None:
        """Write the function that lays out weights: vector of channels, digit, shift, pair, column, channel, half."""
        lines, columns = self.w.kernel
        kind = "int8_t" if self._weights().dtype == np.int8 else "int16_t"
        first = len(self.w.problem.region.inputs) + 1
        with w.block(PREPARE_SIGNATURE):
            w.line(f"const {kind} *const weights = (const {kind} *)p[{first}];")
            w.line(f"{self.weight.c} *to = ({self.weight.c} *)p[{first + constants}];")
            if self.b.floats:
                with w.nest([("vector", self.vectors), ("tap", lines * columns), ("lane", self.lanes)]):
                    w.line(f"const int32_t channel = vector * {self.lanes} + lane;")
                    at = f"channel * {lines * columns} + tap"
                    w.line(f"*to++ = channel < {self.channels} ? (float)weights[{at}] : 0.0f;")
                return
            shifts = ", ".join(map(str, self.tile.shifts))
            w.line(f"static const int32_t shifts[] = {{{shifts}}};")
            loops = [
                ("vector", self.vectors),
                ("digit", len(self.digits)),
                ("shift", len(self.tile.shifts)),
                ("pair", self.tile.weight_pairs),
            ]
            with w.nest([*loops, ("column", columns), ("lane", self.lanes), ("half", 2)]):
                w.line(f"const int32_t channel = vector * {self.lanes} + lane;")
                w.line("const int32_t line = shifts[shift] + 2 * pair + half;")
                inside = f"channel < {self.channels} && line >= 0 && line < {lines}"
                at = f"((digit * {self.channels} + channel) * {lines} + line) * {columns} + column"
                w.line(f"*to++ = (int16_t)({inside} ? weights[{at}] : 0);")
        w.line()

    def _pack(self, w: Writer) -> None:
        """Write the function that copies some channels of some input lines, padded."""
        x, kind = self.w.x, self.w.x.dtype.c
        height, width = x.shape[1], x.shape[2]
        columns = packed_columns(self.w, self.tile)
        left = self.w.pads[1]
        last = min(columns, left + width)
        parameters = f"const {kind} *x, const int32_t top, const int32_t lines, const int32_t channels"
        head = f"static void @NAME@_pack({parameters}, {self.packed.c} *to)"
        with w.block(head), w.block(f"for (int32_t i = 0; i < lines; ++i, to += {self.line})"):
            w.line("(void)channels;")
            w.line("const int32_t line = top + i;")
            with w.block(f"if (line < 0 || line >= {height})"):
                self._fill(w, "to", self.line)
                w.line("continue;")
            if left:
                self._fill(w, "to", left * self.pixel)
            w.line(f"const {kind} *from = x + (ptrdiff_t)line * {x.strides[1]};")
            step = f"++column, from += {x.strides[2]}"
            with w.block(f"for (int32_t column = {left}; column < {last}; {step})"):
                w.line(f"{self.packed.c} *const pixel = to + (ptrdiff_t)column * {self.pixel};")
                if (x.strides[3] == 1 or self.channels == 1) and self.channels % self.pixel == 0:
                    self._copy(w, str(self.pixel))
                elif x.strides[3] == 1 or self.channels == 1:
                    with w.block(f"if (channels == {self.pixel})"):
                        self._copy(w, str(self.pixel))
                    with w.block("else"):
                        self._copy(w, "channels")
                else:
                    with w.block("for (int32_t c = 0; c < channels; ++c)"):
                        w.line(f"pixel[c] = {self._packed_element(f'from[(ptrdiff_t)c * {x.strides[3]}]')};")
            if columns > last:
                self._fill(w, f"to + {last * self.pixel}", (columns - last) * self.pixel)
        w.line()

    def _fill(self, w: Writer, at: str, count: int) -> None:
        number = self.w.x_zero + self.shift
        if self.packed.itemsize > 1 and number:
            with w.block(f"for (int32_t k = 0; k < {count}; ++k)"):
                w.line(f"({at})[k] = {number}{'.0f' * self.b.floats};")
        else:
            w.line(f"memset({at}, {number}, {count * self.packed.itemsize});")

    def _packed_element(self, element: str) -> str:
        return f"({self.packed.c})({element} + {self.shift})" if self.shift else element

    def _copy(self, w: Writer, count: str) -> None:
        if self.packed is self.w.x.dtype:
            size = f" * {self.packed.itemsize}" if self.packed.itemsize > 1 else ""
            w.line(f"memcpy(pixel, from, {count if count.isdigit() else f'(size_t){count}'}{size});")
        elif self.b.floats and count.isdigit():
            with w.block(f"for (int32_t c = 0; c < {count}; c += {self.lanes})"):
                w.line(f"es_store(pixel + c, {load(self.w.x.dtype, 'from + c')});")
        else:
            with w.block(f"for (int32_t c = 0; c < {count}; ++c)"):
                w.line(f"pixel[c] = {self._packed_element('from[c]')};")

    def _heights(self) -> list[int]:
        """Output lines of register tiles: those of a whole band, and of the last one where it has fewer."""
        rest = self.w.y.shape[1] % self.b.height
        whole = [self.b.height] if self.w.y.shape[1] >= self.b.height else []
        return whole + ([rest] if rest else [])

    def _tails(self) -> list[int | None]:
        """Lanes of a vector: all, and those of the last one."""
        tail = self.channels % self.lanes
        return ([None] if self.channels >= self.lanes else []) + ([tail] if tail else [])

    @staticmethod
    def _function(height: int, width: int, tail: int | None) -> str:
        return f"@NAME@_{height}x{width}" + ("_tail" if tail else "")

    def _tile(self, w: Writer, height: int, width: int, tail: int | None) -> None:
        """Write the function of one register tile."""
        epilogue, y = self.w.epilogue, self.w.y
        parameters = [f"const {self.packed.c} *x", f"const {self.weight.c} *w", "const int32_t *b"]
        parameters.append(f"{y.dtype.c} *y{epilogue.parameters}")
        with w.block(f"static void {self._function(height, width, tail)}({', '.join(parameters)})"):
            if self.w.wide:
                self._wide_sums(w, height, width)
            else:
                w.line("const es_m bias = es_load_i32(b);")
                if self.b.floats:
                    self._float_sums(w, height, width)
                else:
                    for line in range(height):
                        w.line("es_m " + ", ".join(f"c{line}_{u} = bias" for u in range(width)) + ";")
                    self._pair_sums(w, height, width)
            tile = [(line, u) for line in range(height) for u in range(width)]
            addresses = [partial(self._address, line, u) for line, u in tile]
            epilogue.store_vectors(w, y, [f"c{line}_{u}" for line, u in tile], addresses, tail)
        w.line()

    def _wide_sums(self, w: Writer, height: int, width: int) -> None:
        """Write sums beyond 32 bits, digit by digit of the weights."""
        write_words(w, height, [("es_load_i32(b)", f"es_load_i32(b + {self.starts.size // 2})")] * width)
        for digit in range(len(self.digits)):
            with partial_sum(w, height, width, 8 * digit):
                self._pair_sums(w, height, width, digit)
        write_floats(w, height, width)

    def _pair_sums(self, w: Writer, height: int, width: int, digit: int = 0) -> None:
        """Write the sums ``c<line>_<column>`` of pairs of products with a digit of the weights."""
        tile, kind = self.tile, self.packed
        before = digit * len(tile.shifts) * tile.weight_pairs
        pairs = tile.met(height - 1)[-1] + 1
        for column in range(tile.columns(width)):
            users = [(u, k) for u in range(width) for k in range(tile.kernel[1])]
            users = [(u, k) for u, k in users if u * tile.strides[1] + k * tile.step == column]
            if not users:
                continue
            with w.block(""):
                for j in range(pairs):
                    at = f"x + {2 * j * self.line + column * self.pixel}"
                    w.line(f"const es_m a{j} = es_zip_{kind}({at}, {at} + {self.line});")
                for line in range(height):
                    start, shift = tile.first(line)
                    for j in tile.met(line):
                        for u, k in users:
                            number = before + tile.shifts.index(shift) * tile.weight_pairs + j - start
                            weight = f"es_pairs_i16(w + {(number * tile.kernel[1] + k) * 2 * self.lanes})"
                            w.line(f"c{line}_{u} = es_dot2(c{line}_{u}, a{j}, {weight});")

    def _float_sums(self, w: Writer, height: int, width: int) -> None:
        """Write the same by floats: each input vector meets every window that it lies in."""
        tile = self.tile
        for line in range(height):
            w.line("es_v " + ", ".join(f"f{line}_{u} = es_set1(0.0f)" for u in range(width)) + ";")
        for row in range((height - 1) * tile.strides[0] + tile.kernel[0]):
            for column in range(tile.columns(width)):
                lines = [(t, row - t * tile.strides[0]) for t in range(height)]
                places = [(u, k) for u in range(width) for k in range(tile.kernel[1])]
                users = [
                    (t, u, i * tile.kernel[1] + k)
                    for t, i in lines
                    if 0 <= i < tile.kernel[0]
                    for u, k in places
                    if u * tile.strides[1] + k * tile.step == column
                ]
                if users:
                    with w.block(""):
                        w.line(f"const es_v a = es_load(x + {row * self.line + column * self.pixel});")
                        for t, u, tap in users:
                            w.line(f"f{t}_{u} = es_fma(a, es_load(w + {tap * self.lanes}), f{t}_{u});")
        for line in range(height):
            for u in range(width):
                w.line(f"const es_m c{line}_{u} = es_to_i32(f{line}_{u}) + bias;")

    @staticmethod
    def _address(line: int, column: int, array: Array) -> str:
        shift = line * array.view.strides[1] + column * array.view.strides[2]
        return f"{array.pointer} + {shift}" if shift else array.pointer

    def _tasks(self, w: Writer) -> int:
        b, window, tile = self.b, self.w, self.tile
        blocks, stacks = -(-self.vectors // b.vectors), -(-self.bands // b.bands)
        with w.block("for (int32_t task = begin; task < end; ++task)"):
            w.unravel("task", [("n", window.y.shape[0]), ("stack", stacks), ("block", blocks)])
            w.line(f"const int32_t first_channel = block * {self.pixel};")
            w.line(f"const int32_t rest = {self.channels} - first_channel;")
            w.line(f"const int32_t channels = rest < {self.pixel} ? rest : {self.pixel};")
            w.line(f"const int32_t first_band = stack * {b.bands};")
            w.line(f"const int32_t more = {self.bands} - first_band;")
            w.line(f"const int32_t bands = more < {b.bands} ? more : {b.bands};")
            kind = self.packed.c
            w.line(f"{kind} *const packed = ({kind} *)scratch;")
            band = b.height * window.strides[0]
            lines = f"(bands - 1) * {band} + {2 * tile.pairs}"
            image = f"x0 + {strided(window.x, [(0, 'n'), (3, 'first_channel')])}"
            w.line(f"@NAME@_pack({image}, first_band * {band} - {window.pads[0]}, {lines}, channels, packed);")
            with (
                w.block(f"for (int32_t at = 0; at < channels; at += {self.lanes})"),
                w.block("for (int32_t band = 0; band < bands; ++band)"),
            ):
                w.line("const int32_t channel = first_channel + at;")
                w.line(f"const int32_t line = (first_band + band) * {b.height};")
                w.line(f"const {self.weight.c} *const wp = prepared + (ptrdiff_t)channel * {self.prepared};")
                self._row(w)
        return prod((window.y.shape[0], stacks, blocks))

    def _row(self, w: Writer) -> None:
        """Write the loop over the tiles of a band."""
        window, b = self.w, self.b
        position = [(0, "n"), (1, "line"), (2, "row"), (3, "channel")]
        band, column = b.height * window.strides[0] * self.line, window.strides[1] * self.pixel
        at = f"band * {band} + (ptrdiff_t)row * {column} + at"
        arguments = [f"packed + (ptrdiff_t){at}", "wp", "bias + channel"]
        arguments.append(f"y0 + {strided(window.y, position)}{window.epilogue.arguments(position)}")

        def rows(height: int, tail: int | None) -> None:
            def call(width: int) -> str:
                return f"{self._function(height, width, tail)}({', '.join(arguments)});"

            self.columns.write(w, "0", str(self.columns.count), None, call)

        def bands(tail: int | None) -> None:
            heights = self._heights()
            if len(heights) == 1:
                rows(heights[0], tail)
                return
            with w.block(f"if (line + {b.height} <= {window.y.shape[1]})"):
                rows(heights[0], tail)
            with w.block("else"):
                rows(heights[1], tail)

        tails = self._tails()
        if len(tails) == 1:
            bands(tails[0])
            return
        with w.block(f"if (channel + {self.lanes} <= {self.channels})"):
            bands(None)
        with w.block("else"):
            bands(tails[1])
