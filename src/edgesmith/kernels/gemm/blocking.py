"""Cache blocking of matrix products: which part of which operand stays in which cache, and what that costs.

The loops are those of K. Goto and R. van de Geijn, "Anatomy of high-performance matrix multiplication", ACM TOMS 34(3),
2008: a block of rows and a group of weight panels stay in the second-level cache, one panel, cut to ``depth`` steps, in
the first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from edgesmith.kernels.base import Schedule
from edgesmith.kernels.cycles import FLOAT_BYTES, LINE_BYTES, far_cycles, l1_ways
from edgesmith.kernels.gemm.row_tiles import RowTiles
from edgesmith.kernels.tile import Panels, TileShape, candidates, cycles_per_step
from edgesmith.target import Target

__all__ = ["Blocking", "Extents", "blockings", "good_tiles"]

TARGET_TASKS = 32
TILES_KEPT = 6
BLOCKINGS_OF_A_TILE = 3
ALIAS_BYTES = 4096
TILE_CYCLES = 10.0
PANEL_CYCLES = 2.3
STORE_CYCLES = 0.7
WAITING_CYCLES = 8.0
NEAR_SHARE = 0.07
PACK_CYCLES = 2.5
GATHER_CYCLES = 1.5
TASK_CYCLES = 60.0
FAR_SHARE = 0.5
"""Part of the time for data from beyond the second-level cache that does not hide behind arithmetic."""


@dataclass(frozen=True)
class Extents:
    """A product (rows, steps) x (steps, channels), computed ``slices`` times.

    Args:
        row_stride, step_stride: elements between neighbouring rows and steps of X; None: only reached through a copy.
    """

    target: Target
    rows: int
    channels: int
    steps: int
    row_stride: int | None
    step_stride: int
    slices: int = 1


@dataclass(frozen=True)
class Blocking:
    """How the loops are cut.

    Args:
        depth: reduction steps of one pass; sums wait in scratch memory between passes.
        tiles: row tiles of a block.
        panels: weight panels of a block.
        packed: each block of X is first copied, so that its rows lie side by side.
    """

    tile: TileShape
    depth: int
    tiles: int
    panels: int
    packed: bool

    @classmethod
    def of(cls, schedule: Schedule) -> Blocking:
        tile = TileShape(schedule["rows"], schedule["vectors"])
        return cls(tile, schedule["depth"], schedule["tiles"], schedule["panels"], bool(schedule["packed"]))

    @classmethod
    def whole(cls, tile: TileShape, e: Extents) -> Blocking:
        """A tile that goes through the whole reduction in one pass."""
        tiles, panels = _cuts(e, tile)[0]
        return cls(tile, max(e.steps, 1), tiles, panels, e.row_stride is None)

    @property
    def schedule(self) -> Schedule:
        return {
            "rows": self.tile.rows,
            "vectors": self.tile.vectors,
            "depth": self.depth,
            "tiles": self.tiles,
            "panels": self.panels,
            "packed": int(self.packed),
        }

    def passes(self, steps: int) -> list[tuple[int, int]]:
        """(first step, number of steps) of each pass."""
        return [(k, min(self.depth, steps - k)) for k in range(0, steps, self.depth)] or [(0, 0)]

    def packed_stride(self) -> int:
        """Elements between rows of a packed block: whole lines, an odd number of them, so that rows never alias."""
        line = LINE_BYTES // FLOAT_BYTES
        return (-(-self.depth // line) | 1) * line

    def sums(self, e: Extents) -> int:
        """Elements of the sums that wait between passes."""
        if self.depth >= e.steps:
            return 0
        return self.tiles * self.panels * self.tile.rows * self.tile.vectors * e.target.lanes

    def scratch_bytes(self, e: Extents) -> int:
        block = self.tiles * self.tile.rows * self.packed_stride() if self.packed else 0
        return (block + self.sums(e)) * FLOAT_BYTES

    def cycles(self, e: Extents) -> float:
        """Predicted cycles on one core, with X and the weights in the caches that they fit."""
        target, tile, lanes = e.target, self.tile, e.target.lanes
        panels = Panels(e.channels, lanes, tile.vectors)
        rows = RowTiles.of(e.rows, tile.rows)
        row_blocks = -(-rows.count // self.tiles)
        groups = -(-panels.count // self.panels)
        passes = self.passes(e.steps)
        block_bytes = min(self.tiles * rows.height, e.rows) * e.steps * FLOAT_BYTES
        group_bytes = min(self.panels, panels.count) * tile.vectors * lanes * e.steps * FLOAT_BYTES
        near = 0.75 * target.l1_bytes
        l2_bytes_per_cycle = target.core.l2_bytes_per_cycle
        total = 0.0
        for (vectors, _), count in panels.counted():
            for height, number in rows.heights:
                alias = self._conflicts(e, height)
                for _, steps in passes:
                    panel_bytes = steps * vectors * lanes * FLOAT_BYTES
                    row_bytes = height * steps * FLOAT_BYTES
                    # Bytes from the second-level cache in each step: the panel when it is pushed out between tiles,
                    # the rows when the block is too large to wait for the next panel.
                    from_l2 = vectors * lanes * FLOAT_BYTES if panel_bytes + 2 * row_bytes > near else 0
                    if block_bytes + panel_bytes > near:
                        from_l2 += height * FLOAT_BYTES
                    step = cycles_per_step(target, TileShape(height, vectors), alias)
                    fetch = from_l2 / l2_bytes_per_cycle
                    each = max(step, fetch) + NEAR_SHARE * fetch
                    ends = TILE_CYCLES + PANEL_CYCLES * vectors + STORE_CYCLES * height * vectors
                    total += count * number * (steps * each + ends)
                total += count * number * (len(passes) - 1) * WAITING_CYCLES * height * vectors
        x_bytes = e.rows * e.steps * FLOAT_BYTES
        weight_bytes = e.channels * e.steps * FLOAT_BYTES
        if self.packed:
            copied = e.rows * e.steps / (lanes if e.step_stride == 1 else 1)
            total += groups * copied * (PACK_CYCLES if e.step_stride == 1 else GATHER_CYCLES)
        stays = group_bytes + block_bytes <= 0.75 * target.l2_bytes
        again = (row_blocks - 1) * weight_bytes if not stays else 0
        total += FAR_SHARE * far_cycles(target.l2_bytes + again, target) if again else 0.0
        if groups > 1:
            total += FAR_SHARE * (groups - 1) * far_cycles(x_bytes, target)
        total += row_blocks * groups * TASK_CYCLES + row_blocks * panels.count * TILE_CYCLES
        return total * e.slices

    def _conflicts(self, e: Extents, rows: int) -> float:
        """Load slots a step lost to rows that compete for the same lines of the first-level cache."""
        if self.packed or e.row_stride is None or e.row_stride * FLOAT_BYTES % ALIAS_BYTES:
            return 0.0
        return max(0, rows + 2 - l1_ways(e.target)) * 2.7


def blockings(e: Extents) -> Iterator[Blocking]:
    """The blockings worth considering: good register tiles, each with the best few ways to cut that fit the caches."""
    for tile in good_tiles(e):
        ways = dict.fromkeys(
            Blocking(tile, depth, tiles, panels, packed)
            for depth in _depths(e, tile)
            for tiles, panels in _cuts(e, tile)
            for packed in _packings(e, tile)
        )
        yield from sorted(ways, key=lambda b: b.cycles(e))[:BLOCKINGS_OF_A_TILE]


def good_tiles(e: Extents) -> list[TileShape]:
    """The register tiles with the highest throughput for the extents, edges included."""

    def cycles(tile: TileShape) -> float:
        heights = RowTiles.of(e.rows, tile.rows).heights
        panels = Panels(e.channels, e.target.lanes, tile.vectors).counted()
        return sum(m * n * cycles_per_step(e.target, TileShape(h, v)) for h, m in heights for (v, _), n in panels)

    shapes = candidates(e.target, e.rows, -(-e.channels // e.target.lanes))
    even = [t for t in shapes if RowTiles.of(e.rows, t.rows).height == t.rows]
    return sorted(even, key=lambda t: (cycles(t), t.vectors, -t.rows))[:TILES_KEPT]


def _depths(e: Extents, tile: TileShape) -> list[int]:
    """All steps at once, or cut so that a panel takes half of the first-level cache."""
    width_bytes = tile.vectors * e.target.lanes * FLOAT_BYTES
    parts = -(-e.steps * width_bytes // (e.target.l1_bytes // 2))
    if parts < 2 or tile.rows == e.rows:
        return [max(e.steps, 1)]
    return [e.steps, -(-e.steps // parts)]


def _cuts(e: Extents, tile: TileShape) -> list[tuple[int, int]]:
    """(row tiles, panels) of a block: as many rows as the first-level or the second-level cache holds, or all.

    Where the weights do not stay in the second-level cache, tasks share out the panels.
    """
    tiles = RowTiles.of(e.rows, tile.rows).count
    panels = Panels(e.channels, e.target.lanes, tile.vectors).count
    row_bytes = max(e.steps, 1) * tile.rows * FLOAT_BYTES
    panel_bytes = max(e.steps, 1) * tile.vectors * e.target.lanes * FLOAT_BYTES
    result_bytes = tile.rows * e.channels * FLOAT_BYTES
    near = max(1, e.target.l1_bytes // 2 // (row_bytes + result_bytes))
    fits = max(1, e.target.l2_bytes // 4 // row_bytes)
    wanted = max(1, -(-tiles * e.slices // TARGET_TASKS))
    if panels * panel_bytes <= e.target.l2_bytes // 2:
        return [(min(fits, wanted, tiles), panels), (min(near, wanted, tiles), panels)]
    shared = min(max(1, e.target.l2_bytes // 2 // panel_bytes), panels)
    balanced = -(-panels // -(-panels // shared))
    return [(tiles, 1), (min(fits, tiles), balanced), (min(fits, wanted, tiles), panels)]


def _packings(e: Extents, tile: TileShape) -> list[bool]:
    if e.row_stride is None:
        return [True]
    aliases = e.row_stride * FLOAT_BYTES % ALIAS_BYTES == 0 and tile.rows + 2 > l1_ways(e.target)
    return [False, True] if aliases and tile.rows > 1 else [False]
