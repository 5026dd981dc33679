"""Rows of a product cut into register tiles, and how tiles request the weights that follow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgesmith.c.writer import Writer
from edgesmith.kernels.cycles import FLOAT_BYTES, LINE_BYTES
from edgesmith.kernels.tile import steps_per_iteration

__all__ = ["RowTiles", "lines_ahead", "write_range"]


@dataclass(frozen=True)
class RowTiles:
    """Rows cut into as few tiles as possible, none of which has more than one row more than another.

    The first ``tall`` tiles have ``height`` rows, the others one less.
    """

    count: int
    height: int
    tall: int

    @classmethod
    def of(cls, rows: int, most: int) -> RowTiles:
        """Tiles of at most ``most`` rows."""
        count = -(-rows // most)
        height = -(-rows // count)
        return cls(count, height, rows - count * (height - 1))

    @property
    def heights(self) -> list[tuple[int, int]]:
        """(rows, number of such tiles), the taller ones first."""
        return [(h, n) for h, n in ((self.height, self.tall), (self.height - 1, self.count - self.tall)) if n]

    def first_row(self, tile: str) -> str:
        """C text of the first row of the tile with an index, which is an identifier."""
        if self.tall == self.count:
            return f"{tile} * {self.height}"
        return f"{tile} * {self.height} - ({tile} > {self.tall} ? {tile} - {self.tall} : 0)"

    def write(self, w: Writer, first: str, last: str, ahead: int | None, call: Callable[[int], str]) -> None:
        """Write the loop over the C indices ``tile`` from ``first`` to ``last``, which have the first row ``row``.

        Args:
            ahead: elements that the pointer ``ahead`` advances with each tile; None: there is none.
            call: the statement for a tile of a height.
        """
        advance = "++tile" if ahead is None else f"++tile, ahead += {ahead}"
        with w.block(f"for (int32_t tile = {first}; tile < {last}; {advance})"):
            w.line("enum { row = 0 };" if self.count == 1 else f"const int32_t row = {self.first_row('tile')};")
            calls = [call(height) for height, _ in self.heights]
            if len(calls) == 1:
                w.line(calls[0])
                return
            with w.block(f"if (tile < {self.tall})"):
                w.line(calls[0])
            with w.block("else"):
                w.line(calls[1])


def lines_ahead(rows: int, vectors: int, lanes: int, tiles: int) -> int:
    """Cache lines that an iteration of a tile requests, so that all tiles together request as much as a panel.

    A single tile uses weights as fast as they come: requests would only delay them.
    """
    if tiles == 1:
        return 0
    return -(-steps_per_iteration(rows, vectors) * vectors * lanes * FLOAT_BYTES // (LINE_BYTES * tiles))


def write_range(w: Writer, name: str, part: str, size: int, count: int) -> None:
    """Write ``first_<name>`` and ``last_<name>``, the bounds of run ``part`` of ``size`` things among ``count``."""
    w.line(f"const int32_t first_{name} = {part} * {size};")
    if count % size == 0:
        w.line(f"const int32_t last_{name} = first_{name} + {size};")
    else:
        w.line(f"const int32_t last_{name} = first_{name} + {size} < {count} ? first_{name} + {size} : {count};")
