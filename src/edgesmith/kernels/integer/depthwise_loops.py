"""The loops around the register tiles of a depthwise convolution of integers, and the copying of its input."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from math import prod
from typing import ClassVar

import numpy as np

from edgesmith.c.writer import Writer
from edgesmith.ir import DType
from edgesmith.kernels.base import SIGNATURE, Code, unpack
from edgesmith.kernels.epilogue import strided
from edgesmith.kernels.gemm.row_tiles import RowTiles
from edgesmith.kernels.integer.depthwise_tiling import Cut, columns_read
from edgesmith.kernels.integer.lines import starting_sums
from edgesmith.kernels.integer.window import IntegerWindow
from edgesmith.kernels.lanes import load
from edgesmith.ops import Array

__all__ = ["DepthwiseLoops"]


class DepthwiseLoops(ABC):
    """Input lines of some channels are copied side by side, with the padding in place, and tiles of outputs read them.

    Args:
        cut: how the loops are cut.
        step: channels of a register tile.
        lines: input lines of a register tile.
        packed: type of the copies.
        shift: what is added to inputs when they are copied.
        weight: type of the weights that register tiles read.
        each: how many of them a channel has.
    """

    name: ClassVar[str]
    """For the names of functions."""
    start: int = 0
    """What the epilogue wants sums to start with."""

    def __init__(
        self,
        window: IntegerWindow,
        cut: Cut,
        *,
        step: int,
        lines: int,
        packed: DType,
        shift: int,
        weight: DType,
        each: int,
    ) -> None:
        self.w, self.b, self.step, self.lines = window, cut, step, lines
        self.packed, self.shift, self.weight, self.each = packed, shift, weight, each
        self.lanes = window.problem.target.lanes
        self.channels = window.channels
        self.padded = -(-self.channels // step) * step
        """Channels of whole register tiles."""
        self.columns = RowTiles.of(window.y.shape[2], cut.width)
        self.bands = -(-window.y.shape[1] // cut.height)
        self.pixel = cut.vectors * self.lanes
        """Packed elements of a pixel."""
        self.line = columns_read(window, window.y.shape[2]) * self.pixel
        self.task_lines = (cut.bands - 1) * cut.height * window.strides[0] + lines
        """Input lines of a task."""

    @abstractmethod
    def _weights(self) -> np.ndarray:
        """The constants that hold the weights."""

    @abstractmethod
    def _prepare(self, w: Writer, constants: int) -> bool:
        """Write the function that lays out weights for the register tiles; False: the constants are laid out so."""

    @abstractmethod
    def _tile(self, w: Writer, height: int, width: int, tail: int | None) -> None:
        """Write the function of one register tile, with as many channels as ``tail`` says (None: all)."""

    def code(self) -> Code:
        epilogue = self.w.epilogue
        constants = [("weights", self._weights()), ("bias", self.starts), *epilogue.constants]
        w = Writer()
        prepares = self._prepare(w, len(constants))
        self._pack(w)
        for width, _ in self.columns.heights:
            for height in self._heights():
                for tail in self._tails():
                    self._tile(w, height, width, tail)
        first = len(self.w.problem.region.inputs) + 1 + len(constants)
        with w.block(SIGNATURE):
            w.lines(unpack(self.w.problem, constants))
            if prepares:
                kind = f"const {self.weight.c} *"
                w.line(f"{kind}const prepared = ({kind})p[{first}];")
                w.line("(void)weights;")
            tasks = self._tasks(w, "prepared" if prepares else "weights")
        size = "x".join(map(str, self.w.kernel))
        label = f"convinteger{size}_{self.name}_{self.w.input_type}{epilogue.label}_{self.b.height}x{self.b.width}"
        return Code(
            w.text(),
            label,
            tuple(a for _, a in constants),
            tasks,
            self.task_lines * self.line * self.packed.itemsize,
            functions=epilogue.functions,
            prepared_bytes=self.padded * self.each * self.weight.itemsize if prepares else 0,
        )

    @cached_property
    def starts(self) -> np.ndarray:
        """What the sums start with."""
        return starting_sums(self.w, self.shift, self.step, self.start)

    def _pack(self, w: Writer) -> None:
        """Write the function that copies some channels of some input lines, padded."""
        x, kind = self.w.x, self.w.x.dtype.c
        height, width = x.shape[1], x.shape[2]
        columns = columns_read(self.w, self.w.y.shape[2])
        left = self.w.pads[1]
        last = min(columns, left + width)
        parameters = f"const {kind} *x, const int32_t top, const int32_t lines, const int32_t channels"
        head = f"static void @NAME@_pack({parameters}, {self.packed.c} *to)"
        with w.block(head), w.block(f"for (int32_t i = 0; i < lines; ++i, to += {self.line})"):
            w.line("(void)channels;")
            w.line("const int32_t line = top + i;")
            with w.block(f"if (line < 0 || line >= {height})"):
                self._fill(w, "to", self.line)
                w.line("continue;")
            if left:
                self._fill(w, "to", left * self.pixel)
            w.line(f"const {kind} *from = x + (ptrdiff_t)line * {x.strides[1]};")
            step = f"++column, from += {x.strides[2]}"
            with w.block(f"for (int32_t column = {left}; column < {last}; {step})"):
                w.line(f"{self.packed.c} *const pixel = to + (ptrdiff_t)column * {self.pixel};")
                if (x.strides[3] == 1 or self.channels == 1) and self.channels % self.pixel == 0:
                    self._copy(w, str(self.pixel))
                elif x.strides[3] == 1 or self.channels == 1:
                    with w.block(f"if (channels == {self.pixel})"):
                        self._copy(w, str(self.pixel))
                    with w.block("else"):
                        self._copy(w, "channels")
                else:
                    with w.block("for (int32_t c = 0; c < channels; ++c)"):
                        w.line(f"pixel[c] = {self._packed_element(f'from[(ptrdiff_t)c * {x.strides[3]}]')};")
            if columns > last:
                self._fill(w, f"to + {last * self.pixel}", (columns - last) * self.pixel)
        w.line()

    def _fill(self, w: Writer, at: str, count: int) -> None:
        number = self.w.x_zero + self.shift
        if self.packed.itemsize > 1 and number:
            with w.block(f"for (int32_t k = 0; k < {count}; ++k)"):
                w.line(f"({at})[k] = {number}{'.0f' * (self.packed is DType.F32)};")
        else:
            w.line(f"memset({at}, {number}, {count * self.packed.itemsize});")

    def _packed_element(self, element: str) -> str:
        return f"({self.packed.c})({element} + {self.shift})" if self.shift else element

    def _copy(self, w: Writer, count: str) -> None:
        if self.packed is self.w.x.dtype:
            size = f" * {self.packed.itemsize}" if self.packed.itemsize > 1 else ""
            w.line(f"memcpy(pixel, from, {count if count.isdigit() else f'(size_t){count}'}{size});")
        elif self.packed is DType.F32 and count.isdigit():
            with w.block(f"for (int32_t c = 0; c < {count}; c += {self.lanes})"):
                w.line(f"es_store(pixel + c, {load(self.w.x.dtype, 'from + c')});")
        else:
            with w.block(f"for (int32_t c = 0; c < {count}; ++c)"):
                w.line(f"pixel[c] = {self._packed_element('from[c]')};")

    def _heights(self) -> list[int]:
        """Output lines of register tiles: those of a whole band, and of the last one where it has fewer."""
        rest = self.w.y.shape[1] % self.b.height
        whole = [self.b.height] if self.w.y.shape[1] >= self.b.height else []
        return whole + ([rest] if rest else [])

    def _tails(self) -> list[int | None]:
        """Channels of a register tile: all, and those of the last one."""
        tail = self.channels % self.step
        return ([None] if self.channels >= self.step else []) + ([tail] if tail else [])

    @staticmethod
    def _function(height: int, width: int, tail: int | None) -> str:
        return f"@NAME@_{height}x{width}" + ("_tail" if tail else "")

    def _address(self, line: int, column: int, vector: int, array: Array) -> str:
        """C text of the address of an operand's vector for an output of the tile."""
        along = vector * self.lanes if array.view.strides[3] == 1 else 0
        shift = line * array.view.strides[1] + column * array.view.strides[2] + along
        return f"{array.pointer} + {shift}" if shift else array.pointer

    def _tasks(self, w: Writer, weights: str) -> int:
        b, window = self.b, self.w
        blocks, stacks = -(-self.channels // self.pixel), -(-self.bands // b.bands)
        with w.block("for (int32_t task = begin; task < end; ++task)"):
            w.unravel("task", [("n", window.y.shape[0]), ("stack", stacks), ("block", blocks)])
            w.line(f"const int32_t first_channel = block * {self.pixel};")
            w.line(f"const int32_t rest = {self.channels} - first_channel;")
            w.line(f"const int32_t channels = rest < {self.pixel} ? rest : {self.pixel};")
            w.line(f"const int32_t first_band = stack * {b.bands};")
            w.line(f"const int32_t more = {self.bands} - first_band;")
            w.line(f"const int32_t bands = more < {b.bands} ? more : {b.bands};")
            kind = self.packed.c
            w.line(f"{kind} *const packed = ({kind} *)scratch;")
            band = b.height * window.strides[0]
            lines = f"(bands - 1) * {band} + {self.lines}"
            image = f"x0 + {strided(window.x, [(0, 'n'), (3, 'first_channel')])}"
            w.line(f"@NAME@_pack({image}, first_band * {band} - {window.pads[0]}, {lines}, channels, packed);")
            with (
                w.block(f"for (int32_t at = 0; at < channels; at += {self.step})"),
                w.block("for (int32_t band = 0; band < bands; ++band)"),
            ):
                w.line("const int32_t channel = first_channel + at;")
                w.line(f"const int32_t line = (first_band + band) * {b.height};")
                w.line(f"const {self.weight.c} *const wp = {weights} + (ptrdiff_t)channel * {self.each};")
                self._row(w)
        return prod((window.y.shape[0], stacks, blocks))

    def _row(self, w: Writer) -> None:
        """Write the loop over the tiles of a band."""
        window, b = self.w, self.b
        position = [(0, "n"), (1, "line"), (2, "row"), (3, "channel")]
        band, column = b.height * window.strides[0] * self.line, window.strides[1] * self.pixel
        at = f"band * {band} + (ptrdiff_t)row * {column} + at"
        arguments = [f"packed + (ptrdiff_t){at}", "wp", "bias + channel"]
        arguments.append(f"y0 + {strided(window.y, position)}{window.epilogue.arguments(position)}")

        def rows(height: int, tail: int | None) -> None:
            def call(width: int) -> str:
                return f"{self._function(height, width, tail)}({', '.join(arguments)});"

            self.columns.write(w, "0", str(self.columns.count), None, call)

        def bands(tail: int | None) -> None:
            heights = self._heights()
            if len(heights) == 1:
                rows(heights[0], tail)
                return
            with w.block(f"if (line + {b.height} <= {window.y.shape[1]})"):
                rows(heights[0], tail)
            with w.block("else"):
                rows(heights[1], tail)

        tails = self._tails()
        if len(tails) == 1:
            bands(tails[0])
            return
        with w.block(f"if (channel + {self.step} <= {self.channels})"):
            bands(None)
        with w.block("else"):
            bands(tails[1])
