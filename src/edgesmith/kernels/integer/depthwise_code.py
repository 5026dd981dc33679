"""The C of a depthwise convolution of integers by pairs of lines, or in floats."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import numpy as np

from edgesmith.c.writer import Writer
from edgesmith.ir import DType
from edgesmith.kernels.base import PREPARE_SIGNATURE
from edgesmith.kernels.integer.depthwise_loops import DepthwiseLoops
from edgesmith.kernels.integer.depthwise_tiling import Blocking, Tile, columns_read, input_shift, multiplied_weights
from edgesmith.kernels.integer.wide import partial_sum, write_floats, write_words
from edgesmith.kernels.integer.window import IntegerWindow

__all__ = ["DepthwiseCode"]


class DepthwiseCode(DepthwiseLoops):
    """Writes the register tiles and the order of their weights."""

    name: ClassVar[str] = "depthwise"
    b: Blocking

    def __init__(self, window: IntegerWindow, b: Blocking) -> None:
        self.tile = Tile(window, b)
        self.digits = multiplied_weights(window) or []
        shift = input_shift(window, b)
        taps = window.kernel[0] * window.kernel[1]
        pairs = len(self.tile.shifts) * self.tile.weight_pairs * window.kernel[1]
        super().__init__(
            window,
            b,
            step=window.problem.target.lanes,
            lines=2 * self.tile.pairs,
            packed=DType.F32 if b.floats else DType.I16 if shift else window.x.dtype,
            shift=shift,
            weight=DType.F32 if b.floats else DType.I16,
            each=taps if b.floats else 2 * pairs * len(self.digits),
        )

    def _weights(self) -> np.ndarray:
        """(digits, channels, kernel lines, kernel columns), flat, in the smallest type that holds them."""
        flat = np.stack(self.digits).reshape(-1)
        return flat.astype(np.int8) if flat.min() >= -128 and flat.max() <= 127 else flat

    def _prepare(self, w: Writer, constants: int) -> bool:
        """Write the function that lays out weights: vector of channels, digit, shift, pair, column, channel, half."""
        lines, columns = self.w.kernel
        kind = "int8_t" if self._weights().dtype == np.int8 else "int16_t"
        first = len(self.w.problem.region.inputs) + 1
        with w.block(PREPARE_SIGNATURE):
            w.line(f"const {kind} *const weights = (const {kind} *)p[{first}];")
            w.line(f"{self.weight.c} *to = ({self.weight.c} *)p[{first + constants}];")
            if self.b.floats:
                with w.nest([("vector", self.padded // self.lanes), ("tap", lines * columns), ("lane", self.lanes)]):
                    w.line(f"const int32_t channel = vector * {self.lanes} + lane;")
                    at = f"channel * {lines * columns} + tap"
                    w.line(f"*to++ = channel < {self.channels} ? (float)weights[{at}] : 0.0f;")
                return True
            shifts = ", ".join(map(str, self.tile.shifts))
            w.line(f"static const int32_t shifts[] = {{{shifts}}};")
            loops = [
                ("vector", self.padded // self.lanes),
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
        return True

    def _tile(self, w: Writer, height: int, width: int, tail: int | None) -> None:
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
            addresses = [partial(self._address, line, u, 0) for line, u in tile]
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
        for column in range(columns_read(self.w, width)):
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
            for column in range(columns_read(self.w, width)):
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
