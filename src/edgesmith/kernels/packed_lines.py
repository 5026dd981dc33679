"""Sums of products over packed input lines: their sizes, the copying of the lines, and the weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from edgesmith.c.writer import Writer
from edgesmith.ir import DType, View
from edgesmith.kernels.epilogue import strided
from edgesmith.kernels.line_window import LineWindow
from edgesmith.kernels.tile import Panels
from edgesmith.target import Target

__all__ = ["LineSums", "PackedLines", "pack_weights", "packing"]


class LineSums:
    """Sizes of a problem whose input lines are copied side by side.

    The products of a kernel line then are one run of neighbouring elements, whatever the window.

    Args:
        group: neighbouring elements that are multiplied in one lane.
        depth: packed elements of a pixel (default: its channels).
    """

    def __init__(self, window: LineWindow, group: int, depth: int | None = None) -> None:
        self.window, self.group = window, group
        self.depth = window.x.shape[3] if depth is None else depth
        self.target: Target = window.problem.target
        kernel_columns = window.kernel[1]
        together = window.dilations[1] == 1
        self.runs = 1 if together else kernel_columns
        """Runs of neighbouring elements in a kernel line."""
        self.run = self.depth * (kernel_columns if together else 1)
        self.groups = -(-self.run // group)
        """Groups of a run."""
        self.lines, self.columns = window.y.shape[1], window.y.shape[2]

    @property
    def weights(self) -> np.ndarray:
        """The weights as they are multiplied; more kernel lines than the window has are products of the same inputs."""
        return self.window.weights

    def input_lines(self, lines: int) -> int:
        w = self.window
        return (lines - 1) * w.strides[0] + (w.kernel[0] - 1) * w.dilations[0] + 1

    def input_columns(self, columns: int) -> int:
        w = self.window
        return (columns - 1) * w.strides[1] + (w.kernel[1] - 1) * w.dilations[1] + 1

    def pack_call(self, column: str) -> str:
        """C statement that packs what the output lines ``first_line`` to ``last_line`` of image ``n`` read.

        Args:
            column: C name of the first output column.
        """
        w = self.window
        lines = f"(last_line - first_line - 1) * {w.strides[0]} + {self.input_lines(1)}"
        top, left = (f"{at} * {w.strides[a]} - {w.pads[a]}" for a, at in enumerate(("first_line", column)))
        return f"@NAME@_pack(x0 + {strided(w.x, [(0, 'n')])}, {top}, {lines}, {left}, packed);"


@dataclass(frozen=True)
class PackedLines:
    """Some columns of input lines, side by side, in the type that is multiplied, with the padding in place.

    Args:
        element: that type.
        shift: what is added to every input so that it fits the type.
        columns: input columns of a line.
    """

    window: LineWindow
    element: DType
    shift: int
    columns: int

    @property
    def line(self) -> int:
        """Elements of a line."""
        return self.columns * self.window.x.shape[3]

    @property
    def pixel(self) -> int:
        """Elements from what one output pixel reads to what the next one on its line reads."""
        return self.window.strides[1] * self.window.x.shape[3]

    def write(self, w: Writer) -> None:
        """Write the function ``@NAME@_pack``: copies ``lines`` lines from the line ``top`` and column ``left`` on."""
        x, depth = self.window.x, self.window.x.shape[3]
        source, target = x.dtype.c, self.element.c
        fill, number = self.window.x_zero + self.shift, self.window.number
        with packing(w, x, target, self.columns, self.line) as start:
            with w.block(f"for (int32_t k = 0; k < first * {depth}; ++k)"):
                w.line(f"to[k] = {fill};")
            shifted = f" + {self.shift}" if self.shift else ""
            w.line(f"const {source} *const from = {start};")
            if (depth == 1 or x.strides[3] == 1) and (x.strides[2] == depth or x.shape[2] == 1):
                with w.block(f"for (int32_t k = 0; k < (last - first) * {depth}; ++k)"):
                    w.line(f"to[first * {depth} + k] = ({target})({number('from[k]')}{shifted});")
            else:
                with w.block("for (int32_t column = 0; column < last - first; ++column)"), w.loop("c", depth):
                    element = f"from[(ptrdiff_t)column * {x.strides[2]} + (ptrdiff_t)c * {x.strides[3]}]"
                    w.line(f"to[(first + column) * {depth} + c] = ({target})({number(element)}{shifted});")
            with w.block(f"for (int32_t k = last * {depth}; k < {self.line}; ++k)"):
                w.line(f"to[k] = {fill};")
        w.line()


@contextmanager
def packing(w: Writer, x: View, target: str, columns: int, line: int) -> Iterator[str]:
    """Write the function ``@NAME@_pack``, which packs ``lines`` lines from the line ``top`` and column ``left`` on.

    What is written inside packs one line to ``to``: columns before ``first`` and from ``last`` on are padding.

    Args:
        x: (images, lines, columns, channels).
        target: C type of a packed element.
        columns, line: columns and packed elements of a line.

    Yields:
        C text of where the columns from ``first`` on lie in the input.
    """
    height, width = x.shape[1], x.shape[2]
    head = f"static void @NAME@_pack(const {x.dtype.c} *x, const int32_t top, const int32_t lines, const int32_t left"
    with w.block(f"{head}, {target} *to)"), w.block(f"for (int32_t i = 0; i < lines; ++i, to += {line})"):
        w.line("const int32_t line = top + i;")
        w.line(f"const int32_t inside = line >= 0 && line < {height};")
        w.line(f"const int32_t before = !inside ? {columns} : left < 0 ? -left : 0;")
        w.line(f"const int32_t first = before < {columns} ? before : {columns};")
        end = f"{width} - left < {columns} ? {width} - left : {columns}"
        w.line(f"const int32_t stop = !inside ? first : {end};")
        w.line("const int32_t last = stop > first ? stop : first;")
        yield f"x + (ptrdiff_t)(inside ? line : 0) * {x.strides[1]} + (ptrdiff_t)(left + first) * {x.strides[2]}"


def pack_weights(sums: LineSums, groups: int, panels: Panels) -> np.ndarray:
    """For each panel, for each group of products, the panel's channels side by side, each with its group.

    Args:
        groups: groups that a run is given; weights beyond it are 0.
    """
    weights, lanes, group = sums.weights, panels.lanes, sums.group
    channels = weights.shape[0]
    runs = weights.reshape(channels, -1, sums.run)
    padded = np.zeros((-(-channels // lanes) * lanes, runs.shape[1], groups * group), weights.dtype)
    padded[:channels, :, : sums.run] = runs
    grouped = padded.reshape(len(padded), -1, group)
    width = panels.vectors * lanes
    parts = [grouped[i : i + width].transpose(1, 0, 2).reshape(-1) for i in range(0, len(grouped), width)]
    return np.concatenate(parts)
