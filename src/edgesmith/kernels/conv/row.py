"""One output row of a sliding window: which taps lie inside the input, column by column and from above to below."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from edgesmith.c.writer import Writer
from edgesmith.ir import View
from edgesmith.kernels.epilogue import Epilogue, strided
from edgesmith.kernels.tile import Panels
from edgesmith.ops.window import Window

__all__ = ["Columns", "RowTiles", "TileFunction", "columns", "cover", "write_row_range"]


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


@lru_cache(maxsize=1024)
def columns(window: Window, extent: int, outputs: int, rows: int, axis: int = 1) -> tuple[Columns, ...]:
    """As few tiles as cover an output row, as equal as can be; neighbours with equal code merged.

    Args:
        extent: width of the input.
        outputs: width of the output.
        rows: most output columns of a tile.
        axis: of the window; with 0 it is an output column that the tiles cover, from top to bottom.
    """
    tiles = -(-outputs // rows)
    share, larger = divmod(outputs, max(tiles, 1))
    return cover(window, extent, tuple(share + (tile < larger) for tile in range(tiles)), axis)


@lru_cache(maxsize=1024)
def cover(window: Window, extent: int, sizes: tuple[int, ...], axis: int = 1) -> tuple[Columns, ...]:
    """Tiles of given sizes side by side; neighbours with equal code merged.

    Args:
        extent, axis: as for ``columns``.
    """
    s, d, p = window.strides[axis], window.dilations[axis], window.pads_begin[axis]
    found: list[Columns] = []
    first = 0
    for count in sizes:
        taps = tuple(
            tuple(r for r in range(count) if 0 <= (first + r) * s + k * d - p < extent)
            for k in range(window.kernel[axis])
        )
        last = found[-1] if found else None
        if last and last.rows == count and last.taps == taps:
            found[-1] = Columns(last.first, last.tiles + 1, count, taps)
        else:
            found.append(Columns(first, 1, count, taps))
        first += count
    return tuple(found)


@dataclass(frozen=True)
class TileFunction:
    """One C function: a tile of ``columns`` for a panel of ``vectors`` vectors, the last one of ``tail`` lanes.

    Its parameters: the input ``x`` and the index ``at`` of the tile's first tap in it, the kernel rows ``first`` to
    ``last`` inside the input, weights ``w``, bias ``b``, output ``y``, the epilogue's operands, and the kernel's own.
    """

    head: str
    columns: Columns
    vectors: int
    tail: int | None


@dataclass(frozen=True)
class RowTiles:
    """The tiles of an output row: their functions and the code that calls them.

    Args:
        x, y: input and output, (N, C, H, W).
        panels: output channels of one group.
        parameters: further C parameters of the functions, each after a comma.
        arguments: their C arguments for the tile at an output column.
    """

    window: Window
    x: View
    y: View
    columns: Sequence[Columns]
    panels: Panels
    epilogue: Epilogue
    parameters: str = ""
    arguments: Callable[[str], str] = lambda ow: ""

    def functions(self) -> Iterator[TileFunction]:
        """Every function that ``write`` calls."""
        parameters = (
            "const float *x, ptrdiff_t at, int32_t first, int32_t last, const float *w, const float *b, float *y"
            f"{self.epilogue.parameters}{self.parameters}"
        )
        for variant, (vectors, tail) in enumerate(self.panels.variants()):
            for number, cols in enumerate(self.columns):
                head = f"static void @NAME@_{variant}_{number}({parameters})"
                yield TileFunction(head, cols, vectors, tail)

    def write(self, w: Writer, panel: str, x_channel: str) -> None:
        """Write one row of one panel.

        The C variables ``n``, ``oh``, ``channel`` (when there is more than one), ``wp`` and ``bp`` hold image, output
        row, first output channel, and the panel's weights and bias.

        Args:
            panel: C text of the panel's number in its group.
            x_channel: C text of the offset of the first input channel.
        """
        write_row_range(w, self.window, self.x.shape[2])
        position = [(0, "n"), (1, "channel"), (2, "oh")]
        w.line(f"float *const yp = y0 + {strided(self.y, position)};")
        for array in self.epilogue.operands:
            w.line(f"const float *const {array.pointer}p = {array.pointer} + {strided(array.view, position)};")
        image, row, column = self.x.strides[0], self.x.strides[2], self.x.strides[3]
        start = f"(ptrdiff_t)n * {image} + (ptrdiff_t)top * {row} + {x_channel}"
        w.line(f"const ptrdiff_t at = {start} - {self.window.pads_begin[1] * column};")
        self.panels.write_variants(w, panel, lambda variant: self._calls(w, variant))

    def _calls(self, w: Writer, variant: int) -> None:
        for number, cols in enumerate(self.columns):
            name = f"@NAME@_{variant}_{number}"
            if cols.tiles == 1:
                w.line(self._call(name, str(cols.first)))
                continue
            stop = cols.first + cols.tiles * cols.rows
            with w.block(f"for (int32_t ow = {cols.first}; ow < {stop}; ow += {cols.rows})"):
                w.line(self._call(name, "ow"))

    def _call(self, name: str, ow: str) -> str:
        step = self.window.strides[1] * self.x.strides[3]
        shift = str(int(ow) * step) if ow.isdigit() else f"(ptrdiff_t){ow} * {step}"
        y = f"yp + {strided(self.y, [(3, ow)])}"
        operands = self.epilogue.arguments([(3, ow)], "p")
        return f"{name}(x0, at + {shift}, first, last, wp, bp, {y}{operands}{self.arguments(ow)});"


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
