"""Register tiles of sums of fp16: how a problem is cut, and how long it takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import prod

from edgesmith.c.writer import Writer
from edgesmith.kernels.cycles import cycles_of, memory_ns
from edgesmith.kernels.epilogue import strided
from edgesmith.kernels.gemm.row_tiles import RowTiles, write_range
from edgesmith.kernels.half.chunks import Chunks
from edgesmith.kernels.half.epilogue import HalfEpilogue
from edgesmith.kernels.half.window import HalfWindow
from edgesmith.kernels.integer.line_tiles import LineBlocking, LineTiles
from edgesmith.kernels.packed_lines import LineSums
from edgesmith.kernels.tile import Panels, TileShape, candidates

__all__ = ["HALF_BYTES", "HalfSums", "HalfTiles", "blockings"]

HALF_BYTES = 2
STEP_NS = 60.0
TILE_CYCLES = 15.0
FLUSH_CYCLES = 3.0
"""Of a vector of sums at the end of a chunk."""
STORE_CYCLES = 3.0
"""Of a vector of results, operators after the product aside."""
LOAD_SHARE = 0.15
"""Of loading that is not hidden behind the products."""
PACK_ELEMENTS_PER_CYCLE = 4.0
TASK_CYCLES = 40.0
TILES_KEPT = 6
MOST_ROWS = 8
"""Products by a lane of fp16 read that lane from one of 16 registers; with more rows compilers spill sums."""
TARGET_TASKS = 16


class HalfSums(LineSums):
    """Sizes of a problem. Pixels of a 1x1 window whose channels lie side by side are read where they are."""

    window: HalfWindow

    def __init__(self, window: HalfWindow) -> None:
        super().__init__(window, 1)
        self.lanes = 2 * self.target.lanes
        """Sums of a vector."""
        self.chunks = Chunks(window.kernel[0], self.runs, self.run)
        pointwise = window.kernel == (1, 1) and window.pads == (0, 0)
        self.in_place = pointwise and (self.depth == 1 or window.x.strides[3] == 1)

    @property
    def steps(self) -> int:
        """Terms of a sum."""
        return self.window.kernel[0] * self.runs * self.run

    def tiles(self, blocking: LineBlocking) -> HalfTiles:
        return HalfTiles(self, Panels(self.window.channels, self.lanes, blocking.vectors), blocking)

    def nanoseconds(self, b: LineBlocking) -> float:
        """Predicted time on one core."""
        target, core, w = self.target, self.target.core, self.window
        tiles = self.tiles(b)
        after = cycles_of(w.epilogue.expr, target)
        after *= 1 if HalfEpilogue(w.epilogue, self.chunks.single).possible else 2
        after += STORE_CYCLES + FLUSH_CYCLES * (self.chunks.count - 1)
        cycles = 0.0
        for (vectors, _), count in tiles.panels.counted():
            step_bytes = vectors * self.lanes * HALF_BYTES
            far = self.steps * step_bytes > target.l1_bytes // 2
            for height, number in tiles.rows.heights:
                products = height * vectors
                loads = (height / self.lanes + vectors) / core.loads_per_cycle
                step = max(products / core.fma_per_cycle, loads, core.fma_latency if products < 4 else 0.0)
                step = max(step, (products + vectors + height / self.lanes) / core.uops_per_cycle)
                step += LOAD_SHARE * loads
                if far:
                    step = max(step, step_bytes / core.l2_bytes_per_cycle)
                cycles += count * number * (self.steps * step + TILE_CYCLES + products * after)
        cycles *= w.y.shape[0] * self.lines
        packed = 0 if self.in_place else tiles.packed_elements
        cycles += prod(tiles.tasks) * (packed / PACK_ELEMENTS_PER_CYCLE + TASK_CYCLES)
        return max(STEP_NS + cycles / target.gigahertz, memory_ns(w.weights.size * HALF_BYTES, target))


class HalfTiles(LineTiles):
    """The tiles of a problem under a blocking."""

    sums: HalfSums

    @property
    def step(self) -> tuple[int, int]:
        """Elements of the input, packed or not, from one kernel line to the next, and from one pixel to the next."""
        window = self.sums.window
        if self.sums.in_place:
            return 0, window.strides[1] * window.x.strides[2]
        return window.dilations[0] * self.line, self.pixel

    @property
    def scratch_elements(self) -> int:
        return 0 if self.sums.in_place else self.packed_elements

    def write_loops(self, w: Writer, start: str, panel_weights: int) -> None:
        """Write the loops over tasks, panels, lines and tiles, which call the tiles' functions.

        Args:
            start: C type of what sums start with.
            panel_weights: weights of a panel.
        """
        b, s = self.blocking, self.sums
        with w.block("for (int32_t task = begin; task < end; ++task)"):
            w.unravel("task", list(zip(("n", "group", "block", "part"), self.tasks, strict=True)))
            write_range(w, "panel", "group", b.panels, self.panels.count)
            write_range(w, "line", "block", b.lines, s.lines)
            write_range(w, "tile", "part", b.tiles, self.rows.count)
            if not s.in_place:
                w.line(f"const int32_t first_row = {self.rows.first_row('first_tile')};")
                w.line("uint16_t *const packed = (uint16_t *)scratch;")
                w.line(s.pack_call("first_row"))
            with w.block("for (int32_t panel = first_panel; panel < last_panel; ++panel)"):
                width = self.panels.vectors * self.panels.lanes
                w.line(f"const uint16_t *const wp = weights + (ptrdiff_t)panel * {panel_weights};")
                w.line(f"const {start} *const bp = bias + panel * {width};")
                with w.block("for (int32_t line = first_line; line < last_line; ++line)"):
                    self.panels.write_variants(w, "panel", lambda variant: self._tiles_of_line(w, variant, width))

    def _tiles_of_line(self, w: Writer, variant: int, width: int) -> None:
        window = self.sums.window
        position = [(0, "n"), (1, "line"), (2, "row"), (3, f"panel * {width}")]
        if self.sums.in_place:
            step = window.strides
            x = f"x0 + {strided(window.x, [(0, 'n'), (1, f'line * {step[0]}'), (2, f'row * {step[1]}')])}"
        else:
            at = f"(line - first_line) * {window.strides[0] * self.line} + (ptrdiff_t)(row - first_row) * {self.pixel}"
            x = f"packed + (ptrdiff_t){at}"
        y = f"y0 + {strided(window.y, position)}{window.epilogue.arguments(position)}"
        self.rows.write(
            w, "first_tile", "last_tile", None, lambda height: f"{self.function(variant, height)}({x}, wp, bp, {y});"
        )


def blockings(s: HalfSums) -> Iterator[LineBlocking]:
    """The best register tiles, each with blocks of lines that fit the first-level or the second-level cache."""
    vectors = -(-s.window.channels // s.lanes)
    shapes = [t for t in candidates(s.target, s.columns, vectors) if RowTiles.of(s.columns, t.rows).height == t.rows]
    shapes = [t for t in shapes if t.rows <= MOST_ROWS]

    def whole(tile: TileShape) -> LineBlocking:
        panels = Panels(s.window.channels, s.lanes, tile.vectors).count
        return LineBlocking(tile.rows, tile.vectors, s.lines, RowTiles.of(s.columns, tile.rows).count, panels)

    best = sorted(map(whole, shapes), key=lambda b: (s.nanoseconds(b), b.vectors, -b.rows))
    for blocking in best[:TILES_KEPT]:
        yield from dict.fromkeys(_cuts(s, blocking))


def _cuts(s: HalfSums, whole: LineBlocking) -> Iterator[LineBlocking]:
    depth, images = s.depth, s.window.y.shape[0]
    weight_bytes = s.window.weights.size * HALF_BYTES
    panels = whole.panels
    if weight_bytes > s.target.l2_bytes // 2:
        panels = max(1, min(whole.panels, -(-whole.panels * (s.target.l2_bytes // 2) // weight_bytes)))
    for room in (s.target.l1_bytes // 2, s.target.l2_bytes // 4):
        if s.lines == 1:
            pixels = max(1, room // max(depth * HALF_BYTES, 1))
            wanted = max(1, -(-whole.tiles * images // TARGET_TASKS))
            yield replace(whole, tiles=max(1, min(whole.tiles, pixels // whole.rows, wanted)), panels=panels)
            continue
        line_bytes = s.input_columns(s.columns) * depth * HALF_BYTES
        fits = (room // line_bytes - s.window.kernel[0]) // s.window.strides[0] + 1 if line_bytes else s.lines
        wanted = max(1, -(-s.lines * images // TARGET_TASKS))
        lines = max(1, min(s.lines, fits, wanted))
        yield replace(whole, lines=-(-s.lines // -(-s.lines // lines)), panels=panels)
