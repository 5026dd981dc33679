"""Two-dimensional tiles of windows: each input vector is loaded once and feeds every output it reaches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from edgesmith.c.writer import Writer
from edgesmith.ir import DType, View
from edgesmith.kernels.conv.row import Columns
from edgesmith.kernels.epilogue import Epilogue
from edgesmith.ops import Array
from edgesmith.ops.window import Window
from edgesmith.target import Target

__all__ = ["WindowSums", "even", "is_small", "shapes"]

MAX_PRODUCTS = 500
"""Multiply-adds of a tile, which are written out one by one."""
MAX_VARIANTS = 16
MAX_LINES, MAX_COLUMNS = 4, 7

TILE_CYCLES, OUTPUT_CYCLES = 4.0, 0.1
PIXEL_CYCLES = 0.45
"""Of each input vector, beside its loading."""
SCATTERED, SCATTERED_CYCLES = 32, 1.5
"""Input vectors of a tile beyond so many cost so much when they come from the outer caches."""
SPILL_CYCLES = 0.45
"""Of each register too many, for each row of the window."""


def even(extent: int, most: int) -> int:
    """The largest tile when ``extent`` is cut into as few as ``most`` allows, as equal as can be."""
    return -(-extent // -(-extent // most))


def shapes(target: Target, height: int, width: int) -> Iterator[tuple[int, int]]:
    """Tiles worth considering for an output: (lines, columns)."""
    for lines in range(1, min(MAX_LINES, height) + 1):
        if lines != even(height, lines):
            continue
        most = min(width, MAX_COLUMNS, (target.registers // 2 + 1) // lines)
        for cols in dict.fromkeys(even(width, most) if lines == 1 else even(width, c) for c in range(1, most + 1)):
            if lines == height or cols == width or lines * cols >= target.registers // 4:
                yield lines, cols


def is_small(products: int, down: Sequence[Columns], across: Sequence[Columns]) -> bool:
    """Whether the code of all tiles of an output is small.

    Args:
        products: of a whole tile.
        down, across: its tiles from top to bottom, and from left to right.
    """
    return products <= MAX_PRODUCTS and len(down) * len(across) <= MAX_VARIANTS


@dataclass(frozen=True)
class WindowSums:
    """A tile of outputs in registers, for one vector of channels at a time.

    Args:
        rows, cols: the tile's output rows and columns with the taps that lie inside the input.
        depth: channels a group, which share a vector with other groups.
        lanes: of a vector.
    """

    window: Window
    rows: Columns
    cols: Columns
    depth: int
    lanes: int

    element: ClassVar[DType] = DType.F32
    """Type of weights and bias."""

    @property
    def steps(self) -> int:
        """Vectors of weights for one vector of outputs."""
        return self.window.kernel[0] * self.window.kernel[1] * self.depth

    @cached_property
    def inputs(self) -> dict[tuple[int, int], list[tuple[int, int, int]]]:
        """For each input pixel of the tile's window (row, column): what it feeds, as (line, column, tap)."""
        reached: dict[tuple[int, int], list[tuple[int, int, int]]] = {}
        (sh, sw), (dh, dw), (_, kw) = self.window.strides, self.window.dilations, self.window.kernel
        for i, lines in enumerate(self.rows.taps):
            for j, places in enumerate(self.cols.taps):
                for line in lines:
                    for column in places:
                        pixel = (line * sh + i * dh, column * sw + j * dw)
                        reached.setdefault(pixel, []).append((line, column, i * kw + j))
        return dict(sorted(reached.items()))

    def write(
        self, w: Writer, load: Callable[[int, int], str], y: View, epilogue: Epilogue, tail: int | None = None
    ) -> None:
        """Write the loop over ``vectors`` vectors of channels; all pointers stand at the first one.

        The C variables ``at``, ``vectors``, ``w``, ``b`` and ``y`` hold the offset of the inputs, the number of
        vectors, and pointers to weights (vector, step, lane), bias and output.

        Args:
            load: C address of an input pixel (row, column).
            y: the output, (N, C, H, W).
            tail: lanes of a partial vector (None: all).
        """
        w.line(f"const {self.element.c} *const end = b + (ptrdiff_t)vectors * {self.lanes};")
        with w.block(f"for (; b < end; b += {self.lanes})"):
            self._sums(w, load, tail)
            self._store(w, y, epilogue, tail)
            w.line(f"at += {self.lanes};")
            w.line(f"w += {self.steps * self.lanes};")
            w.line(f"y += {self.lanes};")
            for operand in epilogue.operands:
                if operand.view.strides[1]:
                    w.line(f"{operand.pointer} += {self.lanes};")

    def _sums(self, w: Writer, load: Callable[[int, int], str], tail: int | None) -> None:
        w.line("const es_v start = es_load(b);")
        for line in range(self.rows.rows):
            w.line("es_v " + ", ".join(f"c{line}_{column} = start" for column in range(self.cols.rows)) + ";")
        taps = {tap for feeds in self.inputs.values() for _, _, tap in feeds}
        for step in (tap * self.depth + c for tap in sorted(taps) for c in range(self.depth)):
            w.line(f"const es_v w{step} = es_load(w + {step * self.lanes});")
        for (i, j), feeds in self.inputs.items():
            at, pixel = load(i, j), f"x{i}_{j}"
            w.line(f"const es_v {pixel} = {f'es_load_n({at}, {tail})' if tail else f'es_load({at})'};")
            for c in range(self.depth):
                factor = pixel
                if self.depth > 1:
                    factor = f"{pixel}_{c}"
                    lanes = ", ".join(str(lane // self.depth * self.depth + c) for lane in range(self.lanes))
                    w.line(f"const es_v {factor} = ES_SHUFFLE({pixel}, {pixel}, {lanes});")
                for line, column, tap in feeds:
                    w.line(f"c{line}_{column} = es_fma({factor}, w{tap * self.depth + c}, c{line}_{column});")

    def _store(self, w: Writer, y: View, epilogue: Epilogue, tail: int | None) -> None:
        for line in range(self.rows.rows):
            for column in range(self.cols.rows):

                def address(array: Array, line: int = line, column: int = column) -> str:
                    shift = line * array.view.strides[2] + column * array.view.strides[3]
                    return f"{array.pointer} + {shift}" if shift else array.pointer

                value = epilogue.apply(w, f"c{line}_{column}", address, tail)
                target = address(Array("y", y))
                w.line(f"es_store_n({target}, {value}, {tail});" if tail else f"es_store({target}, {value});")

    def cycles(self, target: Target, x_bytes: int, operators: int) -> float:
        """Predicted for one vector of channels, apart from the way of data between the caches.

        Args:
            x_bytes: size of what the inputs come from.
            operators: the convolution and those after it.
        """
        outputs = self.rows.rows * self.cols.rows
        products = self.depth * sum(map(len, self.inputs.values()))
        (kh, kw), sh = self.window.kernel, self.window.strides[0]
        # An input row meets the weights of one kernel row for each output row that it reaches.
        live = outputs + self.depth * kw * min(self.rows.rows, -(-kh // sh)) + 1
        spilled = max(0, live - target.registers)
        fetched = PIXEL_CYCLES * len(self.inputs) * (self.depth if self.depth > 1 else 1)
        if x_bytes > target.l2_bytes:
            fetched += SCATTERED_CYCLES * max(0, len(self.inputs) - SCATTERED)
        loads = len(self.inputs) + self.steps + outputs
        after = OUTPUT_CYCLES * outputs * operators
        spills = spilled * (1 + kh + (self.rows.rows - 1) * sh) * SPILL_CYCLES
        core = target.core
        return max(products / core.fma_per_cycle, loads / core.loads_per_cycle) + fetched + after + spills + TILE_CYCLES
