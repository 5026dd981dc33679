"""The C of a Winograd convolution.

A task is a block of tiles and a chunk of output channels:

1. The input of the block is transformed, a group of channels at a time: columns of neighbouring tiles first, each once
   although two tiles read it, then rows. Padding is left out or read as zeros; the input is not copied. A worker that
   goes on with the next chunk of the same block keeps what it has.
2. For each position of the transform, register tiles multiply the block's tiles with the panels of the chunk.
3. The products are transformed back, one vector of channels at a time, and stored through the epilogue; pixels beyond
   the lower and the right border are left out.

The transformed weights lie in the order in which step 2 reads them: (chunk, pass over input channels, position, panel,
input channel, channel of the panel). Either ``prepare`` transforms them all, or each task those that it is about to
use: few tiles leave no time to fetch what is several times larger than the weights themselves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import product

import numpy as np

from edgesmith.c.writer import Writer
from edgesmith.kernels.base import PREPARE_SIGNATURE, SIGNATURE, Code, unpack
from edgesmith.kernels.conv.winograd_tiling import Tiling
from edgesmith.kernels.conv.winograd_transform import Matrix, Program
from edgesmith.kernels.epilogue import Epilogue, strided
from edgesmith.kernels.tile import FLOATS, LINE_BYTES, Panels, Segment, accumulate, pack, steps_per_iteration

__all__ = ["WinogradCode"]

RESULTS_IN_REGISTERS = 24
"""Results of a tile's columns that wait in registers for its rows, of 32."""


class WinogradCode:
    """Writes the functions of one problem with one schedule.

    Args:
        weights: (output channels, input channels, lines, columns).
        bias: for each output channel.
    """

    def __init__(self, tiling: Tiling, epilogue: Epilogue, weights: np.ndarray, bias: np.ndarray) -> None:
        self.t, self.epilogue = tiling, epilogue
        self.lanes, self.numbers = tiling.lanes, tiling.numbers
        self.by_lane = tiling.numbers.products is FLOATS and tiling.problem.target.has("fma_lane")
        """Whether the target is one whose caches fetch lines at even distances unasked, with registers to spare."""
        t = tiling
        channels = np.zeros((t.out_channels, t.summed, *t.window.kernel), np.float32)
        channels[:, : t.in_channels] = weights
        # One panel a vector of output channels; its steps are input channels and, inside them, taps.
        packed = pack(channels.reshape(t.out_channels, -1), Panels(t.out_channels, self.lanes, 1))
        self.weights = packed.astype(self.numbers.weight.numpy)
        self.bias = np.zeros(t.padded_out, self.numbers.sums.numpy)
        self.bias[: t.out_channels] = bias

    def code(self) -> Code:
        t = self.t
        constants = [("weights", self.weights), ("bias", self.bias), *self.epilogue.constants]
        w = Writer()
        self._weight_function(w)
        if t.prepared:
            self._prepare(w, constants)
        self._input_functions(w)
        self._product_functions(w)
        self._output_functions(w)
        with w.block(SIGNATURE):
            w.lines(unpack(t.problem, constants, "u" if t.prepared else None, self.numbers.products.element))
            element, sums = self.numbers.products.element.c, self.numbers.sums.c
            w.line(f"{element} *const v = ({element} *)scratch;")
            w.line(f"{sums} *const m = {_behind('v', t.positions * t.input_plane, element, sums)};")
            if t.prepared:
                w.line("(void)weights;")
            else:
                w.line(f"{element} *const u = {_behind('m', t.positions * t.output_plane, sums, element)};")
            w.line("int32_t transformed = -1;")
            with w.block("for (int32_t task = begin; task < end; ++task)"):
                w.unravel("task", (("block", t.blocks), ("chunk", t.chunks)))
                w.line(f"const int32_t first = block * {t.block};")
                w.line(f"const int32_t last = first + {t.block} < {t.tiles} ? first + {t.block} : {t.tiles};")
                with w.block("if (block != transformed)"):
                    self._transform_input(w)
                    w.line("transformed = block;")
                self._multiply(w)
                self._transform_output(w)
        kernel = "x".join(map(str, t.window.kernel))
        form = f"{t.vertical.m}x{t.horizontal.m}"
        name = t.problem.anchor.op.name.lower()
        label = f"{name}{kernel}_winograd{form}_{t.x.dtype}{self.epilogue.label}_{t.rows}x{t.panels.vectors}"
        return Code(
            w.text(),
            label,
            tuple(a for _, a in constants),
            t.blocks * t.chunks,
            scratch_bytes=t.scratch_bytes,
            functions=self.epilogue.functions,
            prepared_bytes=t.prepared_bytes,
        )

    # The weights.

    def _weight_function(self, w: Writer) -> None:
        """Write the function that transforms the weights of a panel for some input channels."""
        t, numbers = self.t, self.numbers
        (height, width), taps = t.window.kernel, math.prod(t.window.kernel)
        weight, element, group = numbers.weight.c, numbers.products.element.c, numbers.group
        parameters = f"const {weight} *g, {element} *u, int32_t channels, int32_t vectors, ptrdiff_t plane"
        with (
            w.block(f"static void @NAME@_weights({parameters})"),
            w.block(f"for (int32_t c = 0; c < channels; {'++c' if group == 1 else f'c += {group}'})"),
            w.block("for (int32_t vector = 0; vector < vectors; ++vector)"),
        ):
            w.line(f"const {weight} *const from = g + ((ptrdiff_t)vector * {t.summed} + c) * {taps * self.lanes};")
            at = f"((ptrdiff_t)c * vectors + vector{f' * {group}' if group > 1 else ''}) * {self.lanes}"
            w.line(f"{element} *const to = u + {at};")
            size = t.vertical.n * width
            w.line(f"es_v columns[{group * size}];")
            for part, k in product(range(group), range(width)):
                first = part * taps + k
                load = [numbers.read_weights(f"from + {(first + i * width) * self.lanes}") for i in range(height)]
                for i, value in enumerate(_write(w, t.vertical.kernel, load)):
                    w.line(f"columns[{part * size + i * width + k}] = {value};")
            with w.loop("i", t.vertical.n):
                parts = []
                for part in range(group):
                    start = f"{part * size} + " if part else ""
                    row = [f"columns[{start}i * {width} + {k}]" for k in range(width)]
                    parts.append(_write(w, t.horizontal.kernel, row))
                for j, values in enumerate(zip(*parts, strict=True)):
                    w.line(numbers.store_weights(f"to + (i * {t.horizontal.n} + {j}) * plane", values))
        w.line()

    def _transform_weights(self, w: Writer, first: str, steps: int, to: str) -> None:
        """Write the transform of a chunk's weights for ``steps`` input channels from ``first``, into ``to``."""
        t = self.t
        taps = math.prod(t.window.kernel) * self.lanes
        with w.block("for (int32_t panel = 0; panel < panels; ++panel)"):
            w.line(f"const int32_t number = chunk * {t.chunk_panels} + panel;")
            tail = t.panels.tail_vectors
            vectors = f"number < {t.panels.full} ? {t.panels.vectors} : {tail}" if tail else f"{t.panels.vectors}"
            w.line(f"const int32_t vectors = {vectors};")
            start = f"((ptrdiff_t)number * {t.panels.vectors * t.summed} + {first}) * {taps}"
            at = f"{to} + (ptrdiff_t)panel * {steps * t.panel_width}"
            w.line(f"@NAME@_weights(weights + {start}, {at}, {steps}, vectors, {self._weight_plane(steps)});")

    def _weight_plane(self, steps: int) -> str:
        """C text of the elements from one position to the next in the C variable ``chunk``."""
        t = self.t
        return self._by_chunk(t.weight_plane(steps, t.chunk_width), t.weight_plane(steps, t.last_width))

    def _by_chunk(self, usual: int, last: int) -> str:
        """C text of a number that differs in the last chunk."""
        return str(usual) if usual == last else f"(chunk < {self.t.chunks - 1} ? {usual} : {last})"

    def _write_panels(self, w: Writer) -> None:
        t = self.t
        last = t.panels.count - (t.chunks - 1) * t.chunk_panels
        w.line(f"const int32_t panels = {self._by_chunk(t.chunk_panels, last)};")

    def _passes(self, w: Writer, body: Callable[[str, int], None]) -> None:
        """Write ``body``, given C text of the first input channel and their number, for all passes over them."""
        t = self.t
        whole, rest = divmod(t.summed, t.depth)
        with w.loop("k", whole * t.depth, step=t.depth):
            body("k", t.depth)
        if rest:
            with w.block(""):
                body(str(whole * t.depth), rest)

    def _prepare(self, w: Writer, constants: Sequence[tuple[str, np.ndarray]]) -> None:
        t = self.t
        operands = len(t.problem.region.inputs) + 1

        def one_pass(first: str, steps: int) -> None:
            self._transform_weights(w, first, steps, "u")
            w.line(f"u += {t.positions} * (ptrdiff_t){self._weight_plane(steps)};")

        with w.block(PREPARE_SIGNATURE):
            weight, element = self.numbers.weight.c, self.numbers.products.element.c
            w.line(f"const {weight} *const weights = (const {weight} *)p[{operands}];")
            w.line(f"{element} *u = ({element} *)p[{operands + len(constants)}];")
            with w.loop("chunk", t.chunks):
                self._write_panels(w)
                self._passes(w, one_pass)
        w.line()

    # The input.

    def _tails(self, channels: int, lanes: int) -> list[tuple[str, int | None]]:
        """(suffix of the function, lanes) of a whole and of a partial vector, as far as they occur."""
        whole: list[tuple[str, int | None]] = [("", None)] if channels >= lanes else []
        return whole + ([("_tail", channels % lanes)] if channels % lanes else [])

    def _input_functions(self, w: Writer) -> None:
        for number in range(len(self.t.bands)):
            for suffix, lanes in self._tails(self.t.in_channels, self.t.in_lanes):
                self._input_function(w, number, suffix, lanes)

    def _input_function(self, w: Writer, number: int, suffix: str, lanes: int | None) -> None:
        t, band = self.t, self.t.bands[number]
        n, step = t.horizontal.n, t.horizontal.step
        column = t.group * t.vertical.n
        rows = range(band.first_row, band.stop_row)
        source, element, vector = self.numbers.source.c, self.numbers.products.element.c, self.numbers.vector
        sizes = "int32_t left, int32_t right, int32_t tiles, int32_t vectors"
        parameters = f"const {source} *x, ptrdiff_t at, {sizes}, {element} *v"
        each_vector = "for (int32_t vector = 0; vector < vectors; ++vector)"
        with w.block(f"static void @NAME@_input{number}{suffix}({parameters})"):
            w.line(f"const int32_t width = tiles * {step} + {n - step};")
            w.line(f"{vector} columns[{t.horizontal.extent(t.strip) * column}];")
            if rows:
                for start, stop in (("0", "left"), ("right", "width")):
                    with w.block(f"for (int32_t i = {start} * {column}; i < {stop} * {column}; ++i)"):
                        w.line(f"columns[i] = ({vector}){{0}};")
                with w.block("for (int32_t j = left; j < right; ++j)"), w.block(each_vector):
                    start = f"at + (ptrdiff_t)j * {t.x.strides[3]} + vector * {t.in_lanes}"
                    w.line(f"const {source} *const pixel = x + ({start});")
                    w.line(f"{vector} *const column = columns + j * {column} + vector * {t.vertical.n};")
                    at = [f"pixel + {r * t.x.strides[2]}" for r in rows]
                    for a in at if t.x.strides[1] == 1 and not self.by_lane else ():
                        w.line(f"__builtin_prefetch({a} + {t.group * t.in_lanes});")
                    load = [self._load_channels(a, lanes) for a in at]
                    part = tuple(row[band.first_row : band.stop_row] for row in t.vertical.input)
                    for i, value in enumerate(_write(w, part, load, vector)):
                        w.line(f"column[{i}] = {value};")
            else:
                w.line("(void)x, (void)at, (void)left, (void)right;")
                with w.block(f"for (int32_t i = 0; i < width * {column}; ++i)"):
                    w.line(f"columns[i] = ({vector}){{0}};")
            with w.block("for (int32_t tile = 0; tile < tiles; ++tile)"):
                with w.block(each_vector):
                    w.line(
                        f"const {vector} *const window = columns + tile * {step * column} + vector * {t.vertical.n};"
                    )
                    with w.loop("i", t.vertical.n):
                        values = [f"window[{j * column} + i]" for j in range(n)]
                        w.line(f"{element} *const to = v + i * {n * t.input_plane} + vector * {t.in_lanes};")
                        for j, value in enumerate(_write(w, t.horizontal.input, values, vector)):
                            w.line(self.numbers.store_input(f"to + {j * t.input_plane}", value))
                w.line(f"v += {t.padded_in};")
        w.line()

    def _load_channels(self, pixel: str, lanes: int | None) -> str:
        """A vector of a pixel's channels; where they lie apart there are no more than a vector of them."""
        apart = self.t.x.strides[1]
        if apart != 1:
            return f"(es_v){{{', '.join(f'({pixel})[{c * apart}]' for c in range(self.t.in_channels))}}}"
        return self.numbers.read(pixel, lanes)

    def _transform_input(self, w: Writer) -> None:
        t = self.t
        n, step = t.horizontal.n, t.horizontal.step
        width, (_, _, down, across) = t.x.shape[3], t.x.strides
        with w.block("for (int32_t tile = first; tile < last;)"):
            w.unravel("tile", (("n", t.images), ("i", t.down), ("j", t.across)))
            w.line(f"int32_t tiles = {t.across} - j < {t.strip} ? {t.across} - j : {t.strip};")
            w.line("tiles = tiles < last - tile ? tiles : last - tile;")
            w.line(f"const int32_t columns = tiles * {step} + {n - step};")
            w.line(f"const int32_t start = j * {step} - {t.window.pads_begin[1]};")
            w.line(f"int32_t left = start < 0 ? -start : 0, right = {width} - start;")
            w.line("left = left < columns ? left : columns;")
            w.line("right = right < columns ? right : columns;")
            w.line("right = right < left ? left : right;")
            top = f"((ptrdiff_t)i * {t.vertical.step} - {t.window.pads_begin[0]}) * {down}"
            w.line(f"const ptrdiff_t at = (ptrdiff_t)n * {t.x.strides[0]} + {top} + (ptrdiff_t)start * {across};")
            w.line(f"{self.numbers.products.element.c} *const to = v + (ptrdiff_t)(tile - first) * {t.padded_in};")
            for number, band in enumerate(t.bands):
                head = f"if (i <= {band.last})" if number < len(t.bands) - 1 else ""
                with w.block(f"{'else ' if number else ''}{head}".strip()):
                    for suffix, lanes in self._tails(t.in_channels, t.in_lanes):
                        whole = t.in_channels // t.in_lanes * t.in_lanes
                        call = "@NAME@_input{}{}(x0, at + {at}, left, right, tiles, {vectors}, to + {at});"
                        if lanes is None:
                            with w.loop("c", whole, step=t.group * t.in_lanes):
                                left = f"({whole} - c) / {t.in_lanes}"
                                uneven = whole % (t.group * t.in_lanes) > 0
                                vectors = f"{left} < {t.group} ? {left} : {t.group}" if uneven else t.group
                                w.line(call.format(number, suffix, at="c", vectors=vectors))
                        else:
                            w.line(call.format(number, suffix, at=whole, vectors=1))
            w.line("tile += tiles;")

    # The products.

    def _product_functions(self, w: Writer) -> None:
        for vectors in dict.fromkeys(v for v, _ in self.t.panels.variants()):
            for depth in dict.fromkeys(self.t.depths):
                for rows in self.t.heights:
                    self._product_function(w, vectors, rows, depth)

    def _product_function(self, w: Writer, vectors: int, rows: int, depth: int) -> None:
        """Write a register tile; it adds to the products of earlier passes if ``more``."""
        t, numbers = self.t, self.numbers
        at = {(r, v): f"y + {r * t.chunk_width + v * self.lanes}" for r in range(rows) for v in range(vectors)}
        several, element = len(t.depths) > 1, numbers.products.element.c
        parameters = f"const {element} *x, const {element} *w, {numbers.sums.c} *y{', int32_t more' if several else ''}"
        parameters += f", const {element} *ahead" if t.prepared else ""
        with w.block(f"static void @NAME@_product{rows}x{vectors}x{depth}({parameters})"):
            fresh = self.by_lane and not several and depth < self.lanes
            for r in range(rows):
                names = [f"c{r}_{v}" for v in range(vectors)]
                w.line(f"es_v {', '.join(names)};" if fresh else numbers.zero_sums(names))
            if several:
                with w.block("if (more)"):
                    for (r, v), address in at.items():
                        w.line(numbers.continue_sums(f"c{r}_{v}", address))
            segment = Segment(depth // numbers.group, "0", numbers.group, tuple(range(rows)))
            ahead = self._ahead_lines(rows, vectors) if t.prepared else 0
            stride, products = t.padded_in, numbers.products
            accumulate(w, segment, lambda r: r * stride, vectors, t.problem.target, ahead, products, fresh=fresh)
            if t.prepared:
                w.line("(void)ahead;")
            for (r, v), address in at.items():
                w.line(numbers.store_sums(address, f"c{r}_{v}"))
        w.line()

    def _ahead_lines(self, rows: int, vectors: int) -> int:
        """Cache lines that an iteration requests so that all register tiles of a panel request the whole next one."""
        step_bytes = vectors * self.lanes * self.numbers.group * self.numbers.element_bytes
        return -(-steps_per_iteration(rows, vectors) * step_bytes // (LINE_BYTES * self._register_tiles))

    @property
    def _register_tiles(self) -> int:
        """Register tiles of a full block."""
        return -(-self.t.block // self.t.rows)

    def _multiply(self, w: Writer) -> None:
        t = self.t
        w.line("const int32_t count = last - first;")
        self._write_panels(w)
        if t.prepared:
            start = f" + (ptrdiff_t)chunk * {t.weight_elements(t.chunk_width)}" if t.chunks > 1 else ""
            w.line(f"const {self.numbers.products.element.c} *up = u{start};")
        self._passes(w, lambda first, depth: self._pass(w, first, depth))

    def _pass(self, w: Writer, first: str, depth: int) -> None:
        t = self.t
        element, sums = self.numbers.products.element.c, self.numbers.sums.c
        plane = self._weight_plane(depth)
        if not t.prepared:
            self._transform_weights(w, first, depth, "u")
            w.line(f"const {element} *up = u;")
        with w.block(f"for (int32_t position = 0; position < {t.positions}; ++position)"):
            w.line(f"const {element} *const vp = v + (ptrdiff_t)position * {t.input_plane} + {first};")
            w.line(f"const {element} *wp = up;")
            with w.block("for (int32_t panel = 0; panel < panels; ++panel)"):
                w.line(f"{sums} *const mp = m + (ptrdiff_t)position * {t.output_plane} + panel * {t.panel_width};")
                if len(t.panels.variants()) > 1:
                    w.line(f"const int32_t number = chunk * {t.chunk_panels} + panel;")
                t.panels.write_variants(w, "number", lambda variant: self._panel(w, variant, first, depth))
            w.line(f"up += {plane};")

    def _panel(self, w: Writer, variant: int, first: str, depth: int) -> None:
        """Write the register tiles of one panel; ``wp`` moves on to the next."""
        t = self.t
        vectors, _ = t.panels.variants()[variant]
        size = depth * vectors * self.lanes
        w.line("int32_t row = 0;")
        if t.prepared:
            w.line(f"const {self.numbers.products.element.c} *ahead = wp + {size};")
        for rows in t.heights:
            whole = rows == t.rows
            head = f"for (; row + {rows} <= count; row += {rows})" if whole else f"if (count - row == {rows})"
            with w.block(head):
                arguments = f"vp + row * {t.padded_in}, wp, mp + row * {t.chunk_width}"
                arguments += f", {first} > 0" if len(t.depths) > 1 else ""
                arguments += ", ahead" if t.prepared else ""
                w.line(f"@NAME@_product{rows}x{vectors}x{depth}({arguments});")
                if t.prepared:
                    w.line(f"ahead += {-(-size // self._register_tiles)};")
        w.line(f"wp += {size};")

    # The output.

    def _output_functions(self, w: Writer) -> None:
        for columns in self._output_columns():
            for suffix, lanes in self._tails(self.t.out_channels, self.lanes):
                self._output_function(w, columns, suffix, lanes)

    def _output_columns(self) -> list[int]:
        """Output columns of a tile: all, and those of the last tile of a row."""
        t = self.t
        last = t.y.shape[3] - (t.across - 1) * t.horizontal.m
        return sorted({last, *([t.horizontal.m] if t.across > 1 else [])}, reverse=True)

    def _output_function(self, w: Writer, columns: int, suffix: str, lanes: int | None) -> None:
        t, numbers = self.t, self.numbers
        n, m = t.horizontal.n, t.vertical.m
        sums, bias, y = numbers.sums.c, numbers.sums.c, t.y.dtype.c
        parameters = f"const {sums} *m, const {bias} *b, int32_t rows, {y} *y{self.epilogue.parameters}"
        in_registers = self.by_lane and m * n <= RESULTS_IN_REGISTERS
        with w.block(f"static void @NAME@_output{columns}{suffix}({parameters})"):
            if not in_registers:
                w.line(f"{numbers.sum_vector} columns[{m * n}];")
            w.line(f"const {numbers.result_vector} bias = {numbers.read_bias('b')};")
            if in_registers:
                used = [any(row[j] for row in t.horizontal.output[:columns]) for j in range(n)]
                table = [self._output_column(w, str(j)) if used[j] else [""] * m for j in range(n)]
                for i in range(m):
                    with w.block(f"if (rows > {i})"):
                        self._output_row(w, [column[i] for column in table], columns, lanes)
                return
            with w.loop("j", n):
                for i, value in enumerate(self._output_column(w, "j")):
                    w.line(f"columns[{i * n} + j] = {value};")
            with w.block("for (int32_t i = 0; i < rows; ++i)"):
                self._output_row(w, [f"columns[i * {n} + {j}]" for j in range(n)], columns, lanes)
        w.line()

    def _output_column(self, w: Writer, j: str) -> list[str]:
        """Write the transform of a column of products; the C expressions of its results."""
        t, numbers = self.t, self.numbers
        at = [f"m + {j} * {t.output_plane} + {i * t.horizontal.n * t.output_plane}" for i in range(t.vertical.n)]
        return _write(w, t.vertical.output, [numbers.read_sums(a) for a in at], numbers.sum_vector)

    def _output_row(self, w: Writer, values: Sequence[str], columns: int, lanes: int | None) -> None:
        """Write the transform of a row, and its store; the pointers move on to the next."""
        t, numbers = self.t, self.numbers
        outputs = _write(w, t.horizontal.output[:columns], values, numbers.sum_vector)
        for j, value in enumerate(outputs):
            w.line(f"const {numbers.result_vector} c{j}_0 = {numbers.result(w, value)} + bias;")
        self.epilogue.store(w, t.y, range(columns), 1, lanes, row_axis=3)
        for j in range(0 if self.by_lane else columns):
            ahead = j * t.y.strides[3] + LINE_BYTES // t.y.dtype.itemsize
            w.line(f"__builtin_prefetch(y + {ahead}, 1);")
        w.line(f"y += {t.y.strides[2]};")
        for array in self.epilogue.operands:
            w.line(f"{array.pointer} += {array.view.strides[2]};")

    def _transform_output(self, w: Writer) -> None:
        t = self.t
        height = t.y.shape[2]
        w.line(f"const int32_t base = {f'chunk * {t.chunk_width}' if t.chunks > 1 else '0'};")
        edge = min(t.chunks * t.chunk_width, t.out_channels)
        stop = str(edge) if t.chunks == 1 else f"(chunk < {t.chunks - 1} ? base + {t.chunk_width} : {t.out_channels})"
        with w.block("for (int32_t tile = first; tile < last; ++tile)"):
            w.unravel("tile", (("n", t.images), ("i", t.down), ("j", t.across)))
            below = f"{height} - i * {t.vertical.m}"
            w.line(f"const int32_t rows = {below} < {t.vertical.m} ? {below} : {t.vertical.m};")
            w.line(f"const {self.numbers.sums.c} *const from = m + (ptrdiff_t)(tile - first) * {t.chunk_width} - base;")
            w.line("int32_t channel = base;")
            w.line(f"const int32_t stop = {stop};")
            for suffix, lanes in self._tails(t.out_channels, self.lanes):
                loop = f"for (; channel + {self.lanes} <= stop; channel += {self.lanes})"
                with w.block(loop if lanes is None else "if (channel < stop)"):
                    self._output_calls(w, suffix)

    def _output_calls(self, w: Writer, suffix: str) -> None:
        t = self.t
        position = [(0, "n"), (1, "channel"), (2, f"i * {t.vertical.m}"), (3, f"j * {t.horizontal.m}")]
        arguments = f"from + channel, bias + channel, rows, y0 + {strided(t.y, position)}"
        arguments += self.epilogue.arguments(position)
        widths = self._output_columns()
        last = t.y.shape[3] - (t.across - 1) * t.horizontal.m
        if len(widths) == 1:
            w.line(f"@NAME@_output{last}{suffix}({arguments});")
            return
        with w.block(f"if (j < {t.across - 1})"):
            w.line(f"@NAME@_output{t.horizontal.m}{suffix}({arguments});")
        with w.block("else"):
            w.line(f"@NAME@_output{last}{suffix}({arguments});")


def _behind(pointer: str, elements: int, kind: str, wanted: str) -> str:
    """C text of a pointer to ``wanted`` behind some elements of another kind."""
    behind = f"{pointer} + {elements}"
    return behind if kind == wanted else f"({wanted} *)({behind})"


def _write(w: Writer, matrix: Matrix, inputs: Sequence[str], vector: str = "es_v") -> list[str]:
    """Write a matrix times the vectors ``inputs``, each read at most once; the C expression of each output.

    Args:
        vector: their C type.
    """
    named = list(inputs)
    for j, expression in enumerate(inputs):
        if any(row[j] for row in matrix):
            named[j] = w.fresh()
            w.line(f"const {vector} {named[j]} = {expression};")
    return Program.of(matrix, integers=vector != "es_v").write(w, named, vector)
