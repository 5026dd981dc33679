"""One output row of a sliding window: which taps lie inside the input, column by column and from above to below."""

from __future__ import annotations

from dataclasses import dataclass

from edgesmith.c.writer import Writer
from edgesmith.ops.window import Window

__all__ = ["Columns", "columns", "write_row_range"]


@dataclass(frozen=True)
class Columns:
    """Tiles of one output row that share their code: the same rows of the tile see the same taps.

    Args:
        first: output column of the first tile.
        tiles: how many follow one another.
        rows: output columns a tile.
        taps: for each kernel column the tile rows whose input lies inside.
    """

    first: int
    tiles: int
    rows: int
    taps: tuple[tuple[int, ...], ...]

    @property
    def inside(self) -> bool:
        return all(len(t) == self.rows for t in self.taps)


def columns(window: Window, extent: int, outputs: int, rows: int) -> list[Columns]:
    """The tiles of one output row, neighbours with equal code merged.

    Args:
        extent: width of the input.
        outputs: width of the output.
        rows: output columns of a tile.
    """
    s, d, p = window.strides[1], window.dilations[1], window.pads_begin[1]
    found: list[Columns] = []
    for first in range(0, outputs, rows):
        count = min(rows, outputs - first)
        taps = tuple(
            tuple(r for r in range(count) if 0 <= (first + r) * s + k * d - p < extent) for k in range(window.kernel[1])
        )
        last = found[-1] if found else None
        if last and last.rows == count and last.taps == taps:
            found[-1] = Columns(last.first, last.tiles + 1, count, taps)
        else:
            found.append(Columns(first, 1, count, taps))
    return found


def write_row_range(w: Writer, window: Window, extent: int) -> None:
    """Write ``top`` (input row of the first tap, may be negative) and the taps ``first`` to ``last`` that lie inside.

    Args:
        extent: height of the input; the output row is the C variable ``oh``.
    """
    d, k = window.dilations[0], window.kernel[0]
    w.line(f"const int32_t top = oh * {window.strides[0]} - {window.pads_begin[0]};")
    w.line(f"const int32_t above = top < 0 ? (-top + {d - 1}) / {d} : 0;")
    w.line(f"const int32_t below = {extent - 1} - top;")
    w.line(f"const int32_t first = above < {k} ? above : {k};")
    w.line(f"int32_t last = below < 0 ? 0 : below / {d} + 1;")
    w.line(f"last = last < {k} ? last : {k};")
    w.line("if (last < first) { last = first; }")
