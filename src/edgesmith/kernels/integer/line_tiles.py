"""Register tiles of sums over packed input lines: how they are cut into tasks, and the loops around them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Self

from edgesmith.c.writer import Writer
from edgesmith.kernels.base import Schedule
from edgesmith.kernels.epilogue import strided
from edgesmith.kernels.gemm.row_tiles import RowTiles, write_range
from edgesmith.kernels.packed_lines import LineSums
from edgesmith.kernels.tile import Panels

__all__ = ["LineBlocking", "LineTiles"]


@dataclass(frozen=True)
class LineBlocking:
    """How the loops are cut.

    Args:
        rows, vectors: pixels and vectors of a register tile.
        lines, tiles, panels: lines, register tiles of a line and panels of weights of a task.
    """

    rows: int
    vectors: int
    lines: int
    tiles: int
    panels: int

    @classmethod
    def of(cls, schedule: Schedule) -> Self:
        return cls(**schedule)

    @property
    def schedule(self) -> Schedule:
        return {f.name: getattr(self, f.name) for f in fields(self)}


class LineTiles:
    """The tiles of a problem under a blocking.

    Args:
        panels: the channels, in vectors of sums.
    """

    def __init__(self, sums: LineSums, panels: Panels, blocking: LineBlocking) -> None:
        self.sums, self.panels, self.blocking = sums, panels, blocking
        self.rows = RowTiles.of(sums.columns, blocking.rows)
        self.columns = sums.input_columns(min(sums.columns, blocking.tiles * self.rows.height))
        """Input columns of a task at most."""
        self.line = self.columns * sums.depth
        """Packed elements of an input line."""
        self.pixel = sums.window.strides[1] * sums.depth
        """Packed elements from what one output pixel reads to what the next one on its line reads."""

    @property
    def packed_elements(self) -> int:
        """Packed elements of a task at most."""
        return self.sums.input_lines(self.blocking.lines) * self.line

    @property
    def tasks(self) -> tuple[int, int, int, int]:
        """Images, groups of panels, blocks of lines, blocks of tiles."""
        b, s = self.blocking, self.sums
        panels = -(-self.panels.count // b.panels)
        return s.window.y.shape[0], panels, -(-s.lines // b.lines), -(-self.rows.count // b.tiles)

    def function(self, variant: int, rows: int) -> str:
        """Name of the function of a tile of so many rows, for a variant of the panels."""
        return f"@NAME@_tile_{variant}_{rows}"

    def write(self, w: Writer, element: str, weight: str, weights: str, panel_weights: int, further: str = "") -> None:
        """Write the loops over tasks, panels, lines and tiles.

        A tile's function is called with its packed input, the panel's weights, ``further``, what the panel's sums start
        with (``bias``), the output, and the operands of the epilogue.

        Args:
            element, weight: C types of packed elements and weights.
            weights: C name of the weights.
            panel_weights: weights of a panel.
            further: another argument of the tiles.
        """
        b, s = self.blocking, self.sums
        names = ("n", "group", "block", "part")
        with w.block("for (int32_t task = begin; task < end; ++task)"):
            w.unravel("task", list(zip(names, self.tasks, strict=True)))
            write_range(w, "panel", "group", b.panels, self.panels.count)
            write_range(w, "line", "block", b.lines, s.lines)
            write_range(w, "tile", "part", b.tiles, self.rows.count)
            w.line(f"const int32_t first_row = {self.rows.first_row('first_tile')};")
            w.line(f"{element} *const packed = ({element} *)scratch;")
            w.line(s.pack_call("first_row"))
            with w.block("for (int32_t panel = first_panel; panel < last_panel; ++panel)"):
                width = self.panels.vectors * self.panels.lanes
                w.line(f"const {weight} *const wp = {weights} + (ptrdiff_t)panel * {panel_weights};")
                w.line(f"const int32_t *const bp = bias + panel * {width};")
                with w.block("for (int32_t line = first_line; line < last_line; ++line)"):
                    self.panels.write_variants(w, "panel", self._row(w, width, further))

    def _row(self, w: Writer, width: int, further: str) -> Callable[[int], None]:
        """Writes the loop over the tiles of a line, for a variant of the panels."""
        window = self.sums.window
        position = [(0, "n"), (1, "line"), (2, "row"), (3, f"panel * {width}")]
        at = f"(line - first_line) * {window.strides[0] * self.line} + (ptrdiff_t)(row - first_row) * {self.pixel}"
        arguments = [f"packed + (ptrdiff_t){at}", "wp", *([further] if further else []), "bp"]
        arguments.append(f"y0 + {strided(window.y, position)}{window.epilogue.arguments(position)}")

        def write(variant: int) -> None:
            def call(height: int) -> str:
                return f"{self.function(variant, height)}({', '.join(arguments)});"

            self.rows.write(w, "first_tile", "last_tile", None, call)

        return write
