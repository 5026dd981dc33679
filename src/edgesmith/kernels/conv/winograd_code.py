"""The C of a Winograd convolution.

A task is a block of tiles and a chunk of output channels:

1. The input of the block is transformed: columns of neighbouring tiles first, each once although two tiles read it, then
   rows. Padding is left out or read as zeros; the input is not copied. A worker that goes on with the next chunk of the
   same block keeps what it has.
2. For each position of the transform, register tiles multiply the block's tiles with the panels of the chunk.
3. The products are transformed back, one vector of channels at a time, and stored through the epilogue; pixels beyond
   the lower and the right border are left out.

The weights are transformed by ``prepare``, in double precision, into the order in which step 2 reads them:
(chunk, position, panel, input channel, channel of the panel).
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from edgesmith.c.expr import literal
from edgesmith.c.writer import Writer
from edgesmith.ir import DType
from edgesmith.kernels.base import PREPARE_SIGNATURE, SIGNATURE, Code, unpack
from edgesmith.kernels.conv.winograd_tiling import Tiling
from edgesmith.kernels.conv.winograd_transform import Matrix, Program
from edgesmith.kernels.epilogue import Epilogue, strided
from edgesmith.kernels.tile import FLOAT_BYTES, Panels, Segment, accumulate, pack, pack_bias

__all__ = ["WinogradCode"]


class WinogradCode:
    """Writes the functions of one problem with one schedule."""

    def __init__(self, tiling: Tiling) -> None:
        self.t = tiling
        self.lanes = tiling.lanes
        self.epilogue = Epilogue(tiling.problem)
        node, graph = tiling.problem.anchor, tiling.problem.graph
        weights = graph.constants[node.inputs[1]]
        bias = graph.constants[node.inputs[2]] if len(node.inputs) > 2 and node.inputs[2] else None
        # One panel a vector of output channels; its steps are input channels and, inside them, taps.
        self.weights = pack(weights.reshape(tiling.out_channels, -1), Panels(tiling.out_channels, self.lanes, 1))
        self.bias = pack_bias(bias, tiling.panels)

    def code(self) -> Code:
        t = self.t
        constants = [("weights", self.weights), ("bias", self.bias), *self.epilogue.constants]
        w = Writer()
        self._prepare(w, constants)
        self._input_functions(w)
        self._product_functions(w)
        self._output_functions(w)
        with w.block(SIGNATURE):
            w.lines(unpack(t.problem, constants, "u"))
            w.line("(void)weights;")
            w.line("float *const v = (float *)scratch;")
            w.line(f"float *const m = v + {t.positions * t.input_plane};")
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
        label = f"conv{kernel}_winograd{form}_f32{self.epilogue.label}_{t.rows}x{t.panels.vectors}"
        return Code(
            w.text(),
            label,
            tuple(a for _, a in constants),
            t.blocks * t.chunks,
            scratch_bytes=t.scratch_floats * FLOAT_BYTES,
            functions=self.epilogue.functions,
            prepared_bytes=t.weight_floats * FLOAT_BYTES,
        )

    # The weights.

    def _prepare(self, w: Writer, constants: Sequence[tuple[str, np.ndarray]]) -> None:
        t = self.t
        operands = len(t.problem.region.inputs) + 1
        taps, across = t.window.kernel[0] * t.window.kernel[1], t.window.kernel[1]
        with w.block(PREPARE_SIGNATURE):
            w.line("typedef double es_w __attribute__((vector_size(8 * ES_LANES)));")
            w.line(f"const float *g = (const float *)p[{operands}];")
            w.line(f"float *const u = (float *)p[{operands + len(constants)}];")
            with w.loop("vector", t.padded_out // self.lanes):
                self._write_destination(w)
                with w.block(f"for (ptrdiff_t c = 0; c < {t.in_channels}; ++c)"):
                    w.line(f"es_w columns[{t.vertical.n * across}];")
                    for k in range(across):
                        load = [f"es_load(g + {(i * across + k) * self.lanes})" for i in range(t.window.kernel[0])]
                        wide = [f"__builtin_convertvector({a}, es_w)" for a in load]
                        for i, value in enumerate(_write(w, t.vertical.kernel, wide, "es_w")):
                            w.line(f"columns[{i * across + k}] = {value};")
                    with w.loop("i", t.vertical.n):
                        row = [f"columns[i * {across} + {k}]" for k in range(across)]
                        for j, value in enumerate(_write(w, t.horizontal.kernel, row, "es_w")):
                            at = f"to + (i * {t.horizontal.n} + {j}) * plane + c * step"
                            w.line(f"es_store({at}, __builtin_convertvector({value}, es_v));")
                    w.line(f"g += {taps * self.lanes};")
        w.line()

    def _write_destination(self, w: Writer) -> None:
        """Write where a vector's transformed weights go: ``to``, the distance of positions and of input channels."""
        t = self.t
        chunk_vectors, vectors = t.chunk_panels * t.panels.vectors, t.panels.vectors
        total = t.padded_out // self.lanes
        w.line(f"const int32_t chunk = vector / {chunk_vectors}, inside = vector % {chunk_vectors};")
        w.line(f"const int32_t panel = inside / {vectors};")
        w.line(f"const int32_t beyond = {total} - (vector - inside % {vectors});")
        w.line(f"const ptrdiff_t step = {self.lanes} * (beyond < {vectors} ? beyond : {vectors});")
        w.line(f"const ptrdiff_t plane = (ptrdiff_t){t.in_channels} * {self._chunk_width()};")
        start = f"(ptrdiff_t)chunk * {t.positions * t.in_channels * t.chunk_width}"
        w.line(f"float *const to = u + {start} + panel * {t.in_channels * t.panel_width}")
        w.line(f"    + inside % {vectors} * {self.lanes};")

    def _chunk_width(self) -> str:
        t = self.t
        if t.last_width == t.chunk_width:
            return str(t.chunk_width)
        return f"(chunk < {t.chunks - 1} ? {t.chunk_width} : {t.last_width})"

    # The input.

    def _tails(self, channels: int) -> list[tuple[str, int | None]]:
        """(suffix of the function, lanes) of a whole and of a partial vector, as far as they occur."""
        whole: list[tuple[str, int | None]] = [("", None)] if channels >= self.lanes else []
        return whole + ([("_tail", channels % self.lanes)] if channels % self.lanes else [])

    def _input_functions(self, w: Writer) -> None:
        for number in range(len(self.t.bands)):
            for suffix, lanes in self._tails(self.t.in_channels):
                self._input_function(w, number, suffix, lanes)

    def _input_function(self, w: Writer, number: int, suffix: str, lanes: int | None) -> None:
        t, band = self.t, self.t.bands[number]
        n, m = t.horizontal.n, t.horizontal.m
        rows = range(band.first_row, band.stop_row)
        parameters = "const float *x, ptrdiff_t at, int32_t left, int32_t right, int32_t tiles, float *v"
        with w.block(f"static void @NAME@_input{number}{suffix}({parameters})"):
            w.line(f"const int32_t width = tiles * {m} + {n - m};")
            w.line(f"es_v columns[{(t.strip * m + n - m) * t.vertical.n}];")
            if rows:
                for start, stop in (("0", "left"), ("right", "width")):
                    with w.block(f"for (int32_t i = {start} * {t.vertical.n}; i < {stop} * {t.vertical.n}; ++i)"):
                        w.line("columns[i] = (es_v){0};")
                with w.block("for (int32_t j = left; j < right; ++j)"):
                    start = f"at + (ptrdiff_t)j * {t.x.strides[3]}"
                    w.line(f"const float *const column = x + ({start});")
                    at = [f"column + {r * t.x.strides[2]}" for r in rows]
                    load = [f"es_load({a})" if lanes is None else f"es_load_n({a}, {lanes})" for a in at]
                    part = tuple(row[band.first_row : band.stop_row] for row in t.vertical.input)
                    for i, value in enumerate(_write(w, part, load, "es_v")):
                        w.line(f"columns[j * {t.vertical.n} + {i}] = {value};")
            else:
                w.line("(void)x, (void)at, (void)left, (void)right;")
                with w.block(f"for (int32_t i = 0; i < width * {t.vertical.n}; ++i)"):
                    w.line("columns[i] = (es_v){0};")
            with w.block("for (int32_t tile = 0; tile < tiles; ++tile)"):
                w.line(f"const es_v *const window = columns + tile * {m * t.vertical.n};")
                with w.loop("i", t.vertical.n):
                    values = [f"window[{j * t.vertical.n} + i]" for j in range(n)]
                    w.line(f"float *const to = v + i * {n * t.input_plane};")
                    for j, value in enumerate(_write(w, t.horizontal.input, values, "es_v")):
                        w.line(f"es_store(to + {j * t.input_plane}, {value});")
                w.line(f"v += {t.padded_in};")
        w.line()

    def _transform_input(self, w: Writer) -> None:
        t = self.t
        m, n = t.horizontal.m, t.horizontal.n
        width, (_, _, down, across) = t.x.shape[3], t.x.strides
        with w.block("for (int32_t tile = first; tile < last;)"):
            w.unravel("tile", (("n", t.images), ("i", t.down), ("j", t.across)))
            w.line(f"int32_t tiles = {t.across} - j < {t.strip} ? {t.across} - j : {t.strip};")
            w.line("tiles = tiles < last - tile ? tiles : last - tile;")
            w.line(f"const int32_t columns = tiles * {m} + {n - m};")
            w.line(f"const int32_t start = j * {m} - {t.window.pads_begin[1]};")
            w.line(f"int32_t left = start < 0 ? -start : 0, right = {width} - start;")
            w.line("left = left < columns ? left : columns;")
            w.line("right = right < columns ? right : columns;")
            w.line("right = right < left ? left : right;")
            top = f"((ptrdiff_t)i * {t.vertical.m} - {t.window.pads_begin[0]}) * {down}"
            w.line(f"const ptrdiff_t at = (ptrdiff_t)n * {t.x.strides[0]} + {top} + (ptrdiff_t)start * {across};")
            w.line(f"float *const to = v + (ptrdiff_t)(tile - first) * {t.padded_in};")
            for number, band in enumerate(t.bands):
                head = f"if (i <= {band.last})" if number < len(t.bands) - 1 else ""
                with w.block(f"{'else ' if number else ''}{head}".strip()):
                    for suffix, lanes in self._tails(t.in_channels):
                        whole = t.in_channels // self.lanes * self.lanes
                        call = f"@NAME@_input{number}{suffix}(x0, at + {{c}}, left, right, tiles, to + {{c}});"
                        if lanes is None:
                            with w.loop("c", whole, step=self.lanes):
                                w.line(call.format(c="c"))
                        else:
                            w.line(call.format(c=whole))
            w.line("tile += tiles;")

    # The products.

    def _product_functions(self, w: Writer) -> None:
        t = self.t
        for vectors in self._panel_vectors():
            for first, steps in {(k > 0, count): (k, count) for k, count in t.depths}.values():
                for rows in t.heights:
                    self._product_function(w, vectors, rows, first, steps)

    def _panel_vectors(self) -> list[int]:
        return [v for v, _ in self.t.panels.variants()]

    def _product_name(self, vectors: int, rows: int, first: int, steps: int) -> str:
        return f"@NAME@_product{rows}x{vectors}x{steps}{'_more' if first else ''}"

    def _product_function(self, w: Writer, vectors: int, rows: int, first: int, steps: int) -> None:
        t = self.t
        name = self._product_name(vectors, rows, first, steps)
        at = {(r, v): f"y + {r * t.chunk_width + v * self.lanes}" for r in range(rows) for v in range(vectors)}
        with w.block(f"static void {name}(const float *x, const float *w, float *y)"):
            for r in range(rows):
                start = [f"es_load({at[r, v]})" if first else "(es_v){0}" for v in range(vectors)]
                w.line("es_v " + ", ".join(f"c{r}_{v} = {start[v]}" for v in range(vectors)) + ";")
            segment = Segment(steps, "0", 1, tuple(range(rows)))
            accumulate(w, segment, lambda r: r * t.padded_in, vectors, self.lanes)
            for (r, v), address in at.items():
                w.line(f"es_store({address}, c{r}_{v});")
        w.line()

    def _multiply(self, w: Writer) -> None:
        t = self.t
        w.line("const int32_t count = last - first;")
        start = f"(ptrdiff_t)chunk * {t.positions * t.in_channels * t.chunk_width}"
        w.line(f"const float *wp = u + {start};" if t.chunks > 1 else "const float *wp = u;")
        last_panels = t.panels.count - (t.chunks - 1) * t.chunk_panels
        panels = str(t.chunk_panels)
        if last_panels != t.chunk_panels:
            panels = f"(chunk < {t.chunks - 1} ? {t.chunk_panels} : {last_panels})"
        w.line(f"const int32_t panels = {panels};")
        with (
            w.block(f"for (int32_t position = 0; position < {t.positions}; ++position)"),
            w.block("for (int32_t panel = 0; panel < panels; ++panel)"),
        ):
            w.line(f"const float *const vp = v + (ptrdiff_t)position * {t.input_plane};")
            w.line(f"float *const mp = m + (ptrdiff_t)position * {t.output_plane} + panel * {t.panel_width};")
            number = f"chunk * {t.chunk_panels} + panel" if t.chunks > 1 else "panel"
            if len(t.panels.variants()) > 1:
                w.line(f"const int32_t number = {number};")
            t.panels.write_variants(w, "number", lambda variant: self._panel(w, self._panel_vectors()[variant]))

    def _panel(self, w: Writer, vectors: int) -> None:
        t = self.t
        for first, steps in t.depths:
            with w.block(""):
                w.line("int32_t row = 0;")
                for rows in t.heights:
                    whole = rows == t.rows
                    head = f"for (; row + {rows} <= count; row += {rows})" if whole else f"if (count - row == {rows})"
                    with w.block(head):
                        name = self._product_name(vectors, rows, first, steps)
                        x = f"vp + row * {t.padded_in}" + (f" + {first}" if first else "")
                        w.line(f"{name}({x}, wp, mp + row * {t.chunk_width});")
                w.line(f"wp += {steps * vectors * self.lanes};")

    # The output.

    def _output_functions(self, w: Writer) -> None:
        for columns in self._output_columns():
            for suffix, lanes in self._tails(self.t.out_channels):
                self._output_function(w, columns, suffix, lanes)

    def _output_columns(self) -> list[int]:
        """Output columns of a tile: all, and those of the last tile of a row."""
        t = self.t
        last = t.y.shape[3] - (t.across - 1) * t.horizontal.m
        return sorted({last, *([t.horizontal.m] if t.across > 1 else [])}, reverse=True)

    def _output_function(self, w: Writer, columns: int, suffix: str, lanes: int | None) -> None:
        t = self.t
        n, m = t.horizontal.n, t.vertical.m
        parameters = f"const float *m, const float *b, int32_t rows, float *y{self.epilogue.parameters}"
        with w.block(f"static void @NAME@_output{columns}{suffix}({parameters})"):
            w.line(f"es_v columns[{m * n}];")
            w.line("const es_v bias = es_load(b);")
            with w.loop("j", n):
                planes = [f"es_load(m + j * {t.output_plane} + {i * n * t.output_plane})" for i in range(t.vertical.n)]
                for i, value in enumerate(_write(w, t.vertical.output, planes, "es_v")):
                    w.line(f"columns[{i * n} + j] = {value};")
            with w.block("for (int32_t i = 0; i < rows; ++i)"):
                values = [f"columns[i * {n} + {j}]" for j in range(n)]
                for j, value in enumerate(_write(w, t.horizontal.output[:columns], values, "es_v")):
                    w.line(f"const es_v c{j}_0 = {value} + bias;")
                self.epilogue.store(w, t.y, range(columns), 1, lanes, row_axis=3)
                w.line(f"y += {t.y.strides[2]};")
                for array in self.epilogue.operands:
                    w.line(f"{array.pointer} += {array.view.strides[2]};")
        w.line()

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
            w.line(f"const float *const from = m + (ptrdiff_t)(tile - first) * {t.chunk_width} - base;")
            w.line("int32_t channel = base;")
            w.line(f"const int32_t stop = {stop};")
            for suffix, lanes in self._tails(t.out_channels):
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


def _write(w: Writer, matrix: Matrix, inputs: Sequence[str], kind: str) -> list[str]:
    """Write a matrix times the vectors ``inputs``, each read at most once; the C expression of each output."""
    named = list(inputs)
    for j, expression in enumerate(inputs):
        if any(row[j] for row in matrix):
            named[j] = w.fresh()
            w.line(f"const {kind} {named[j]} = {expression};")
    dtype = DType.F32 if kind == "es_v" else DType.F64

    def factor(value: Fraction) -> str:
        text = literal(float(value), dtype)
        return f"es_set1({text})" if dtype is DType.F32 else text

    return Program.of(matrix).write(w, named, factor, kind)
