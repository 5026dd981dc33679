"""Sizes of register tiles of integer sums, the time that they are predicted to take, and which are worth a try."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod

from edgesmith.kernels.cycles import cycles_of, memory_ns
from edgesmith.kernels.gemm.row_tiles import RowTiles
from edgesmith.kernels.integer.dot import Dot
from edgesmith.kernels.integer.line_tiles import LineBlocking, LineTiles
from edgesmith.kernels.integer.lines import IntegerSums
from edgesmith.kernels.tile import Panels, TileShape, candidates

__all__ = ["SLACK", "TileBlocking", "TileSums", "blockings"]

STEP_NS = 60.0
TILES_KEPT = 6
TARGET_TASKS = 16
TILE_CYCLES = 12.0
PACK_ELEMENTS_PER_CYCLE = 8.0
SLACK = 16
"""Elements behind the packed lines that the last group may read; their weights are 0."""


@dataclass(frozen=True)
class TileBlocking(LineBlocking):
    """Args: wide: 1 where weights are converted to the width of the products once, before the first run."""

    wide: int = 0

    @property
    def tile(self) -> TileShape:
        return TileShape(self.rows, self.vectors)


class TileSums(IntegerSums):
    """Sizes of a problem under a blocking."""

    @property
    def steps(self) -> int:
        """Groups of all products of one sum."""
        return len(self.digits) * self.window.kernel[0] * self.runs * self.groups

    @property
    def rounds(self) -> int:
        """How often a run has as many groups as a vector of inputs, where products are by lanes of these; else 0."""
        return self.groups // self.target.lanes if self.dot.lane else 0

    @property
    def ahead(self) -> bool:
        """Whether operands are loaded well before their use, and some behind the last one."""
        return self.rounds > 1 and self.dot.ahead(self.target.core)

    def tiles(self, b: TileBlocking) -> LineTiles:
        return LineTiles(self, Panels(self.window.channels, self.target.lanes, b.vectors), b)

    def nanoseconds(self, b: TileBlocking) -> float:
        """Predicted time on one core."""
        target, dot, w = self.target, self.used(b), self.window
        tiles, core = self.tiles(b), target.core
        epilogue = cycles_of(w.epilogue.expr, target) + 2.0
        cycles = 0.0
        for (vectors, _), count in tiles.panels.counted():
            panel_bytes = self.steps * vectors * target.lanes * dot.group * dot.weight.itemsize
            far = panel_bytes > target.l1_bytes // 2
            for height, number in tiles.rows.heights:
                products = height * vectors
                step = dot.cycles(core, height, vectors, by_lanes=self.rounds > 0)
                step = dot.uops_of(height, vectors) / core.uops_per_cycle if target.is_bare else step
                if far:
                    step = max(step, vectors * target.lanes * dot.group * dot.weight.itemsize / core.l2_bytes_per_cycle)
                cycles += count * number * (self.steps * step + TILE_CYCLES + products * epilogue)
        cycles *= w.y.shape[0] * self.lines
        cycles += prod(tiles.tasks) * ((tiles.packed_elements + SLACK) / PACK_ELEMENTS_PER_CYCLE + 40.0)
        compute = STEP_NS + cycles / target.gigahertz
        return max(compute, memory_ns(w.weights.size * dot.weight.itemsize, target))

    def used(self, b: TileBlocking) -> Dot:
        """The instruction on the weights as they lie in memory when the program runs."""
        return (self.dot.widened if b.wide else None) or self.dot


def blockings(s: TileSums) -> Iterator[TileBlocking]:
    """The best register tiles, each with blocks of lines that fit the first-level or the second-level cache."""
    lanes = s.target.lanes
    vectors = -(-s.window.channels // lanes)
    shapes = [t for t in candidates(s.target, s.columns, vectors) if s.dot.fits(s.target, t.rows, t.vectors)]
    shapes = [t for t in shapes if RowTiles.of(s.columns, t.rows).height == t.rows]

    def whole(tile: TileShape, wide: int) -> TileBlocking:
        panels = Panels(s.window.channels, lanes, tile.vectors).count
        return TileBlocking(tile.rows, tile.vectors, s.lines, RowTiles.of(s.columns, tile.rows).count, panels, wide)

    for wide in (1, 0) if s.dot.widened else (0,):
        best = sorted(shapes, key=lambda t: (s.nanoseconds(whole(t, wide)), t.vectors, -t.rows))
        for tile in best[:TILES_KEPT]:
            yield from dict.fromkeys(_cuts(s, whole(tile, wide)))


def _cuts(s: TileSums, whole: TileBlocking) -> Iterator[TileBlocking]:
    size, depth = s.dot.element.itemsize, s.window.x.shape[3]
    images = s.window.y.shape[0]
    weight_bytes = s.window.weights.size * s.used(whole).weight.itemsize
    panels = whole.panels
    if weight_bytes > s.target.l2_bytes // 2:
        panels = max(1, min(whole.panels, -(-whole.panels * (s.target.l2_bytes // 2) // weight_bytes)))
    rooms = (s.target.l1_bytes // 2, s.target.l2_bytes // 4)
    for room in rooms[:1] if s.target.is_bare else rooms:
        if s.lines == 1:
            pixels = max(1, room // max(depth * size, 1))
            wanted = max(1, -(-whole.tiles * images // TARGET_TASKS))
            tiles = max(1, min(whole.tiles, pixels // whole.rows, wanted))
            yield replace(whole, lines=1, tiles=tiles, panels=panels)
            continue
        line_bytes = s.input_columns(s.columns) * depth * size
        fits = (room // line_bytes - s.window.kernel[0]) // s.window.strides[0] + 1 if line_bytes else s.lines
        wanted = max(1, -(-s.lines * images // TARGET_TASKS))
        lines = max(1, min(s.lines, fits, wanted))
        yield replace(whole, lines=-(-s.lines // -(-s.lines // lines)), panels=panels)
