"""The predicted time of a Winograd convolution: arithmetic of its three phases, and the memory that they move."""

from __future__ import annotations

from functools import cache

from edgesmith.kernels.conv.winograd_tiling import Tiling
from edgesmith.kernels.conv.winograd_transform import Matrix, Program
from edgesmith.kernels.cycles import memory_ns
from edgesmith.kernels.tile import TileShape, cycles_per_step

__all__ = ["nanoseconds"]

STEP_NS = 100.0
OPERATIONS_PER_FMA = 0.65
"""Operations of a transform in the time of one multiply-add of many."""
TILE_CYCLES = 6.0
"""For each register tile, besides its steps."""
SHARED_SHARE = 10 / 28
"""Of the bandwidth behind the second-level cache that weights and scratch memory have side by side."""
L2_SHARE = 0.8
OVERLAP = 0.7
"""Share of the shorter of arithmetic and memory traffic that hides behind the longer."""


def nanoseconds(t: Tiling) -> float:
    """Of one run on one core."""
    target = t.problem.target
    weight_bytes = t.positions * t.summed * t.padded_out * t.numbers.element_bytes
    scratch_bytes = t.scratch_bytes
    arithmetic = _products(t)
    traffic = 0.0
    if t.prepared:
        again = (t.blocks - 1) * weight_bytes
        traffic = memory_ns(weight_bytes, target) * target.gigahertz
        traffic += again / _bandwidth(t, weight_bytes + scratch_bytes)
    else:
        traffic = memory_ns(t.weights_bytes, target) * target.gigahertz
        vectors = t.in_channels * t.padded_out / t.lanes
        arithmetic += t.blocks * vectors * _both(t, t.vertical.kernel, t.horizontal.kernel)
    moved = t.padded_in * (1 + t.chunks) * t.numbers.element_bytes + 2 * t.padded_out * t.numbers.sums.itemsize
    moved *= t.tiles * t.positions
    traffic += moved / _bandwidth(t, scratch_bytes)
    transforms = t.tiles * t.padded_in / t.in_lanes * _both(t, t.vertical.input, t.horizontal.input)
    transforms += t.tiles * t.padded_out / t.lanes * _both(t, t.vertical.output, t.horizontal.output)
    data_bytes = t.x.size * t.x.dtype.itemsize + t.y.size * t.y.dtype.itemsize
    traffic += memory_ns(data_bytes, target) * target.gigahertz
    work = arithmetic + transforms
    return STEP_NS + (max(work, traffic) + (1 - OVERLAP) * min(work, traffic)) / target.gigahertz


def _products(t: Tiling) -> float:
    """Cycles of the register tiles."""
    last = t.tiles - (t.blocks - 1) * t.block
    return t.positions * ((t.blocks - 1) * _block(t, t.block) + _block(t, last))


def _block(t: Tiling, tiles: int) -> float:
    whole, rest = divmod(tiles, t.rows)
    return sum(count * _row(t, rows) for rows, count in ((t.rows, whole), (rest, 1)) if rows and count)


def _row(t: Tiling, rows: int) -> float:
    """Cycles of the register tiles of so many rows over all panels."""
    cycles = 0.0
    for vectors, panels in ((t.panels.vectors, t.panels.full), (t.panels.tail_vectors, 1)):
        if vectors and panels:
            passes = len(t.depths) * (TILE_CYCLES + rows * vectors)
            step = cycles_per_step(t.problem.target, TileShape(rows, vectors), products=t.numbers.products)
            cycles += panels * (t.summed / t.numbers.group * step + passes)
    return cycles


def _bandwidth(t: Tiling, used_bytes: int) -> float:
    """Bytes a cycle of data that is used again and again, with so much other data in between."""
    near = used_bytes <= L2_SHARE * t.problem.target.l2_bytes
    core = t.problem.target.core
    return core.l2_bytes_per_cycle if near else core.far_bytes_per_cycle * SHARED_SHARE


def _both(t: Tiling, vertical: Matrix, horizontal: Matrix) -> float:
    """Cycles of one vector through a transform on both axes, loads and stores included."""
    columns, rows = len(horizontal[0]), len(vertical)
    operations = columns * _operations(vertical) + rows * _operations(horizontal)
    moves = columns * len(vertical[0]) / 2 + rows * len(horizontal)
    return (operations + moves) / (OPERATIONS_PER_FMA * t.problem.target.core.fma_per_cycle)


@cache
def _operations(matrix: Matrix) -> int:
    return Program.of(matrix).operations
