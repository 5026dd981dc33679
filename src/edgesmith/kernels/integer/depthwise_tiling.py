"""How a depthwise convolution of integers is cut, and how long it takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from edgesmith.ir import DType
from edgesmith.kernels.base import Schedule
from edgesmith.kernels.cycles import FLOAT_BYTES, cycles_of
from edgesmith.kernels.gemm.row_tiles import RowTiles
from edgesmith.kernels.integer.dot import dot2_cycles
from edgesmith.kernels.integer.wide import PartialSums, digits, largest_input
from edgesmith.kernels.integer.window import IntegerWindow

__all__ = [
    "Blocking",
    "Cut",
    "Tile",
    "blockings",
    "columns_read",
    "input_shift",
    "multiplied_weights",
    "nanoseconds",
    "packed_lines",
]

STEP_NS = 60.0
TARGET_TASKS = 16
PAIR_UOPS = 2.0
DOT_UOPS = 2.0
TILE_CYCLES = 12.0
COPY_CYCLES = 1.5
EXACT_SUM = 2**24
"""Integers up to this size are numbers of f32."""


@dataclass(frozen=True)
class Cut:
    """How the loops are cut.

    Args:
        height, width: output lines and columns of a register tile.
        bands: register tiles above one another in a task.
        vectors: vectors of channels of a task.
    """

    height: int
    width: int
    bands: int
    vectors: int

    @property
    def schedule(self) -> Schedule:
        return {"height": self.height, "width": self.width, "bands": self.bands, "vectors": self.vectors}


@dataclass(frozen=True)
class Blocking(Cut):
    """How the loops are cut, and what is multiplied.

    Args:
        floats: multiply floats.
    """

    floats: bool

    @classmethod
    def of(cls, s: Schedule) -> Blocking:
        return cls(s["height"], s["width"], s["bands"], s["vectors"], bool(s["floats"]))

    @property
    def schedule(self) -> Schedule:
        return {**super().schedule, "floats": int(self.floats)}


class Tile:
    """Which pairs of input lines meet which outputs of a register tile."""

    def __init__(self, window: IntegerWindow, b: Blocking) -> None:
        self.height, self.width = b.height, b.width
        self.kernel, self.strides = window.kernel, window.strides
        self.step = window.dilations[1]
        self.floats = b.floats
        self.lines = (b.height - 1) * window.strides[0] + window.kernel[0]
        self.pairs = -(-self.lines // 2)
        self.words = 3 if window.wide else 1

    def first(self, line: int) -> tuple[int, int]:
        """The first pair that output line ``line`` meets, and the kernel line of its first half: 0, or -1."""
        return line * self.strides[0] // 2, -(line * self.strides[0] % 2)

    def met(self, line: int) -> range:
        """Pairs that output line ``line`` meets."""
        top = line * self.strides[0]
        return range(top // 2, (top + self.kernel[0] - 1) // 2 + 1)

    @property
    def shifts(self) -> tuple[int, ...]:
        """Kernel lines of the first half of the first pair, over all output lines."""
        return tuple(sorted({self.first(line)[1] for line in range(self.height)}, reverse=True))

    @property
    def weight_pairs(self) -> int:
        """Pairs of kernel lines for one shift, at most."""
        return (self.kernel[0] + 1) // 2 if self.shifts == (0,) else self.kernel[0] // 2 + 1

    @property
    def dots(self) -> int:
        """Products of pairs for one column of outputs."""
        return sum(len(self.met(line)) for line in range(self.height)) * self.kernel[1]

    @property
    def registers(self) -> int:
        return self.words * self.height * self.width + (1 if self.floats else self.pairs) + 2


def blockings(window: IntegerWindow) -> Iterator[Blocking]:
    images, lines, columns, channels = window.y.shape
    target = window.problem.target
    most = -(-channels // target.lanes)
    for height in (1, 2, 3, 4):
        if height > lines:
            continue
        for width in range(1, 9):
            if RowTiles.of(columns, width).height != width:
                continue
            for vectors in sorted({min(most, n) for n in (2, 4, 8)}):
                blocks = -(-most // vectors)
                bands = -(-lines // height)
                wanted = max(1, images * blocks * bands // TARGET_TASKS)
                for some in sorted({min(bands, n) for n in (1, 2, 4, wanted)}):
                    for floats in (False, True) if _fits_floats(window) else (False,):
                        yield Blocking(height, width, some, vectors, floats)


def _fits_floats(window: IntegerWindow) -> bool:
    """Whether sums of products as floats are exact."""
    if window.wide:
        return False
    most = np.abs(window.weights.astype(np.int64)).reshape(window.channels, -1).sum(1).max(initial=0)
    return bool(largest_input(window, 0) * most < EXACT_SUM)


def input_shift(window: IntegerWindow, b: Blocking) -> int:
    """What is added to inputs so that instructions on signed numbers can multiply them."""
    return -(1 << 15) if window.input_type is DType.U16 and not b.floats else 0


def multiplied_weights(window: IntegerWindow) -> list[np.ndarray] | None:
    """Weights as they are multiplied, (channels, lines, columns, 1); None where their sums do not fit 32 bits."""
    if not window.wide:
        return [window.weights]
    found = digits(window.weights)
    flat = np.stack(found).reshape(len(found), window.channels, -1)
    largest = largest_input(window, -(1 << 15) if window.input_type is DType.U16 else 0)
    partial = PartialSums.of(flat, largest, 1)
    return None if partial is None or partial.elements else found


def nanoseconds(window: IntegerWindow, b: Blocking) -> float:
    """Predicted time on one core."""
    tile = Tile(window, b)
    images, lines, columns, channels = window.y.shape
    target, core = window.problem.target, window.problem.target.core
    vectors = -(-channels // target.lanes)
    bands = -(-lines // b.height)
    epilogue = cycles_of(window.epilogue.expr, target) + 2.0
    cycles = 0.0
    for width, count in RowTiles.of(columns, b.width).heights:
        dots = width * tile.dots * len(multiplied_weights(window) or ())
        if b.floats:
            products = width * b.height * window.kernel[0] * window.kernel[1]
            read = columns_read(window, width) * tile.lines
            uops, loads = products / core.fma_per_cycle, (read + products) / core.loads_per_cycle
        else:
            read = columns_read(window, width) * tile.pairs
            uops = (read * PAIR_UOPS + dots * DOT_UOPS) / core.uops_per_cycle
            if target.has("dot4_planes") or (target.lanes > 1 and not target.has("dot2")):
                uops = read * PAIR_UOPS + dots * dot2_cycles(target)
            loads = (2 * read + dots) / core.loads_per_cycle
        cycles += count * (max(uops, loads) + TILE_CYCLES + width * b.height * epilogue)
    cycles *= images * bands * vectors
    packed = packed_lines(tile, b) * columns_read(window, columns)
    tasks = images * -(-vectors // b.vectors) * -(-bands // b.bands)
    size = FLOAT_BYTES if b.floats else window.input_type.itemsize
    spill = 2.0 if packed * b.vectors * target.lanes * size > target.l1_bytes // 2 else 1.0
    copying = COPY_CYCLES + b.vectors * target.lanes * size / 64 + (2.0 * b.vectors if b.floats else 0.0)
    cycles += tasks * (packed * copying * spill + 60.0)
    return STEP_NS + cycles / target.gigahertz


def packed_lines(tile: Tile, b: Blocking) -> int:
    """Input lines of a task; pairs are whole."""
    return (b.bands - 1) * b.height * tile.strides[0] + 2 * tile.pairs


def columns_read(window: IntegerWindow, width: int) -> int:
    """Input columns of some output columns."""
    return (width - 1) * window.strides[1] + (window.kernel[1] - 1) * window.dilations[1] + 1
