"""The depthwise stage of a chain: over the ring of expanded rows, or over the chain's input.

Windows of a few taps are computed in two-dimensional tiles, which reuse what they load for several output rows; where
the window hangs over the top, the bottom or the sides of the input, tiles have code of their own. All vectors of a
panel are done for one tile before the next: without expansion that is every channel, and memory is walked in its order.
Larger windows are computed row by row, with a loop over the rows of the window.
"""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from edgesmith.c.writer import Writer
from edgesmith.ir import DType, View
from edgesmith.kernels.conv.chain_stage import Block, Stage
from edgesmith.kernels.conv.row import Columns, write_row_range
from edgesmith.kernels.conv.window_sums import WindowSums
from edgesmith.kernels.epilogue import strided
from edgesmith.kernels.tile import Panels, declare, pack_bias

__all__ = ["Depthwise", "DepthwiseRows", "DepthwiseTiles"]


class Depthwise(Stage):
    """One filter a channel.

    Args:
        vectors: of channels whose weights lie side by side.
    """

    name = "depthwise"

    def __init__(self, block: Block, vectors: int) -> None:
        chain = block.chain
        super().__init__(block, chain.depthwise, chain.epilogue)
        self.window = chain.op.window
        self.panels = Panels(chain.channels, chain.lanes, vectors)
        self.width = vectors * self.lanes
        self.tiles = chain.tiles(block.tiling.columns)
        node, constants = self.problem.anchor, self.problem.graph.constants
        self.taps = self.window.kernel[0] * self.window.kernel[1]
        padded = np.zeros((self.panels.count * self.width, self.taps), np.float32)
        padded[: chain.channels] = constants[node.inputs[1]].reshape(-1, self.taps)
        # (panel, tap, channel of the panel)
        self._add("weights", np.ascontiguousarray(padded.reshape(-1, self.width, self.taps).transpose(0, 2, 1)))
        bias = constants[node.inputs[2]] if len(node.inputs) > 2 and node.inputs[2] else None
        self._add("bias", pack_bias(bias, self.panels))
        self.column = block.width if chain.expand else chain.x.strides[3]
        packed = (0, 1, block.out_width * block.width, block.width)
        self.y = View(chain.y.shape, packed, DType.F32) if chain.project else chain.y

    def _write_rows(self, w: Writer, first: str, last: str) -> None:
        """Write the pointers ``rows`` to the input rows ``top`` + ``first`` to ``last``, a dilation apart."""
        dilation = self.dilation
        with w.block(f"for (int32_t t = {first}; t < {last}; ++t)"):
            row = f"(top + t * {dilation})" if dilation > 1 else "(top + t)"
            block = self.block
            if block.chain.expand:
                at = f"ring + ((ptrdiff_t)panel * {block.slots} + {row} % {block.slots}) * {block.row_floats}"
            else:
                image, _, height, _ = block.chain.x.strides
                at = f"{block.pointer(self.problem)} + (ptrdiff_t)n * {image} + (ptrdiff_t){row} * {height}"
            w.line(f"rows[t] = {at};")

    @property
    @abstractmethod
    def dilation(self) -> int:
        """Input rows from one of the pointers to the next."""

    def _write_pointers(self, w: Writer, inside: str) -> None:
        """Write the offset ``at`` of the inputs in their rows, and pointers to the output row ``oh`` and to operands.

        Args:
            inside: C text of the offset of ``channel`` in its panel.
        """
        block = self.block
        position = [(0, "n"), (1, "channel"), (2, "oh")]
        if block.chain.expand:
            w.line(f"const ptrdiff_t at = {inside};")
        else:
            w.line(f"const ptrdiff_t at = channel - {self.window.pads_begin[1] * self.column};")
        if block.chain.project:
            pixel = f"((ptrdiff_t)panel * {block.pixels} + (oh - start) * {block.out_width}) * {block.width}"
            w.line(f"float *const yp = results + {pixel} + {inside};")
        else:
            w.line(f"float *const yp = y0 + {strided(self.y, position)};")
        for array in self.epilogue.operands:
            start = strided(array.view, position)
            w.line(f"const float *const {array.pointer}_row = {array.pointer}_depthwise + {start};")


class DepthwiseTiles(Depthwise):
    """Two-dimensional tiles of the windows of a few taps."""

    def __init__(self, block: Block) -> None:
        super().__init__(block, 1)
        chain = block.chain
        self.lines = chain.lines(block.tiling.lines)
        padded = chain.expand and chain.project and not self.epilogue.operands
        self.tail = 0 if padded else chain.channels % self.lanes
        """Channels behind the last vector that is computed as a whole."""

    @property
    def dilation(self) -> int:
        return 1

    def write_tiles(self, w: Writer) -> None:
        parameters = (
            "const float *const *rows, ptrdiff_t at, int32_t vectors, const float *w, const float *b, "
            f"float *y{self.epilogue.parameters}"
        )
        for i, lines in enumerate(self.lines):
            for j, cols in enumerate(self.tiles):
                sums = WindowSums(self.window, lines, cols, 1, self.lanes)
                for suffix, tail in (("", None), ("_tail", self.tail)):
                    if tail == 0:
                        continue
                    with w.block(f"static void @NAME@_depthwise_{i}_{j}{suffix}({parameters})"):
                        for row in sorted({row for row, _ in sums.inputs}):
                            w.line(f"const float *const row{row} = rows[{row}];")
                        sums.write(
                            w,
                            lambda row, column: f"row{row} + at + {column * self.column}",
                            self.y,
                            self.epilogue,
                            tail,
                        )
                        w.line("(void)rows, (void)at, (void)w;")
                    w.line()

    def write(self, w: Writer) -> None:
        lines = self.block.tiling.lines
        w.line(f"ES_UNUSED const int32_t channel = panel * {self.block.width};")
        self._count_vectors(w)
        w.line(f"const float *const wp = weights_depthwise + (ptrdiff_t)channel * {self.taps};")
        w.line("const float *const bp = bias_depthwise + channel;")
        w.line(f"const int32_t first_line = start / {lines}, last_line = (stop + {lines - 1}) / {lines};")
        begin = 0
        for i, tile in enumerate(self.lines):
            end = begin + tile.tiles
            w.line(f"const int32_t first{i} = first_line > {begin} ? first_line : {begin};")
            w.line(f"const int32_t last{i} = last_line < {end} ? last_line : {end};")
            with w.block(f"for (int32_t line = first{i}; line < last{i}; ++line)"):
                w.line(f"const int32_t oh = line * {lines};")
                self._line(w, i, tile)
            begin = end

    def _count_vectors(self, w: Writer) -> None:
        """Write the number of ``vectors`` of ``panel`` that are computed as a whole."""
        panels = self.block.panels
        last = panels.channels - (panels.count - 1) * self.block.width
        rest = last // self.lanes if self.tail else -(-last // self.lanes)
        if panels.count == 1 or rest == panels.vectors:
            w.line(f"const int32_t vectors = {rest};")
        else:
            w.line(f"const int32_t vectors = panel < {panels.count - 1} ? {panels.vectors} : {rest};")

    def _line(self, w: Writer, i: int, lines: Columns) -> None:
        """Write the tiles from left to right."""
        window = self.window
        used = [line * window.strides[0] + k * window.dilations[0] for k, at in enumerate(lines.taps) for line in at]
        w.line(f"const int32_t top = oh * {window.strides[0]} - {window.pads_begin[0]};")
        w.line(f"const float *rows[{max(used, default=0) + 1}]{'' if used else ' = {0}'};")
        if used:
            self._write_rows(w, str(min(used)), str(max(used) + 1))
        self._write_pointers(w, "0")
        for j, cols in enumerate(self.tiles):
            with w.loop("ow", cols.first + cols.tiles * cols.rows, cols.first, cols.rows):
                self._call(w, f"@NAME@_depthwise_{i}_{j}")

    def _call(self, w: Writer, function: str) -> None:
        place = [(3, "ow")]
        x = f"at + (ptrdiff_t)ow * {self.window.strides[1] * self.column}"
        y = f"yp + {strided(self.y, place)}"
        w.line(f"{function}(rows, {x}, vectors, wp, bp, {y}{self.epilogue.arguments(place, '_row')});")
        if not self.tail:
            return
        done = f"vectors * {self.lanes}"
        behind = [(1, done), (3, "ow")]
        call = (
            f"{function}_tail(rows, {x} + {done}, 1, wp + (ptrdiff_t){done} * {self.taps}, bp + {done}, "
            f"yp + {strided(self.y, behind)}{self.epilogue.arguments(behind, '_row')});"
        )
        count = self.block.panels.count
        w.line(f"if (panel == {count - 1}) {{ {call} }}" if count > 1 else call)


class DepthwiseRows(Depthwise):
    """Tiles of one output row, with a loop over the rows of the window."""

    def __init__(self, block: Block) -> None:
        super().__init__(block, block.tiling.vectors)

    @property
    def dilation(self) -> int:
        return self.window.dilations[0]

    def write_tiles(self, w: Writer) -> None:
        parameters = (
            "const float *const *rows, ptrdiff_t at, int32_t first, int32_t last, const float *w, const float *b, "
            f"float *y{self.epilogue.parameters}"
        )
        for variant, (vectors, tail) in enumerate(self.panels.variants()):
            for number, cols in enumerate(self.tiles):
                with w.block(f"static void @NAME@_depthwise_{variant}_{number}({parameters})"):
                    declare(w, range(cols.rows), vectors, self.lanes)
                    if any(cols.taps):
                        self._kernel_rows(w, cols, vectors, None if self.block.chain.expand else tail)
                    else:
                        w.line("(void)rows, (void)at, (void)first, (void)last, (void)w;")
                    self.epilogue.store(w, self.y, range(cols.rows), vectors, tail, row_axis=3)
                w.line()

    def _kernel_rows(self, w: Writer, cols: Columns, vectors: int, tail: int | None) -> None:
        """Write the sum over the kernel's rows: unrolled where all of them lie inside, else a loop."""
        kh, kw = self.window.kernel

        def row(t: str) -> None:
            w.line(f"const float *const x = rows[{t}] + at;")
            w.line(f"const float *const wt = w + {t} * {kw * self.width};")
            self._products(w, cols, vectors, tail)

        with w.block(f"if (last - first == {kh})"):
            for t in range(kh):
                with w.block(""):
                    row(str(t))
        with w.block("else"), w.block("for (int32_t t = first; t < last; ++t)"):
            row("t")

    def _products(self, w: Writer, cols: Columns, vectors: int, tail: int | None) -> None:
        """Write one kernel row: each input vector is loaded once and feeds every column that it reaches."""
        stride, dilation = self.window.strides[1], self.window.dilations[1]
        reached: dict[int, list[tuple[int, int]]] = {}
        for k, rows in enumerate(cols.taps):
            for v in range(vectors if rows else 0):
                w.line(f"const es_v w{k}_{v} = es_load(wt + {k * self.width + v * self.lanes});")
            for r in rows:
                reached.setdefault(r * stride + k * dilation, []).append((r, k))
        for column in sorted(reached):
            for v in range(vectors):
                partial = tail if v == vectors - 1 else None
                at = f"x + {column * self.column + v * self.lanes}"
                load = f"es_load({at})" if partial is None else f"es_load_n({at}, {partial})"
                w.line(f"const es_v x{column}_{v} = {load};")
                for r, k in reached[column]:
                    w.line(f"c{r}_{v} = es_fma(x{column}_{v}, w{k}_{v}, c{r}_{v});")

    def write(self, w: Writer) -> None:
        block, window, groups = self.block, self.window, self.block.panels.vectors // self.panels.vectors
        with w.block("for (int32_t oh = start; oh < stop; ++oh)"):
            write_row_range(w, window, block.chain.x.shape[2])
            w.line(f"const float *rows[{window.kernel[0]}];")
            self._write_rows(w, "first", "last")
            if groups == 1:
                w.line("const int32_t group = panel;")
                self._group(w)
            else:
                w.line(
                    f"const int32_t last_group = (panel + 1) * {groups} < {self.panels.count}"
                    f" ? (panel + 1) * {groups} : {self.panels.count};"
                )
                with w.block(f"for (int32_t group = panel * {groups}; group < last_group; ++group)"):
                    self._group(w)

    def _group(self, w: Writer) -> None:
        w.line(f"ES_UNUSED const int32_t channel = group * {self.width};")
        w.line(f"const float *const wp = weights_depthwise + (ptrdiff_t)group * {self.taps * self.width};")
        w.line("const float *const bp = bias_depthwise + channel;")
        self._write_pointers(w, f"channel - panel * {self.block.width}")
        self.panels.write_variants(w, "group", lambda variant: self._calls(w, variant))

    def _calls(self, w: Writer, variant: int) -> None:
        for number, cols in enumerate(self.tiles):
            with w.loop("tile", cols.tiles):
                w.line(f"const int32_t ow = {cols.first} + tile * {cols.rows};")
                x = f"at + (ptrdiff_t)ow * {self.window.strides[1] * self.column}"
                y = f"yp + {strided(self.y, [(3, 'ow')])}"
                operands = self.epilogue.arguments([(3, "ow")], "_row")
                w.line(f"@NAME@_depthwise_{variant}_{number}(rows, {x}, first, last, wp, bp, {y}{operands});")
