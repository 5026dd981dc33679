"""C of chains of pointwise and depthwise convolutions over blocks of output rows.

A task is a block of output rows. For each panel of expanded channels it expands the input rows that no task before it
has expanded, into a ring of rows in the worker's scratch memory, and runs the depthwise convolution over the ring while
these rows are in the first-level cache; then it projects the block. A worker computes neighbouring tasks one after the
other, so that rows which two blocks share are expanded twice only where the range of a worker begins.

Rows of the ring have columns of zeros where the depthwise window reaches over the edges: all tiles there are alike.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from edgesmith.c.writer import Writer
from edgesmith.ir import DType, View
from edgesmith.kernels.base import SIGNATURE, Code, Problem, unpack
from edgesmith.kernels.conv.chain import Chain, Tiling, balanced
from edgesmith.kernels.conv.row import Columns, write_row_range
from edgesmith.kernels.epilogue import Epilogue, strided
from edgesmith.kernels.gemm.packed import Product
from edgesmith.kernels.tile import (
    Panels,
    Segment,
    TileShape,
    accumulate,
    candidates,
    cycles_per_step,
    declare,
    pack,
    pack_bias,
)

__all__ = ["ChainCode"]


class ChainCode:
    """Writes the function of one chain."""

    def __init__(self, chain: Chain, tiling: Tiling) -> None:
        self.chain, self.tiling = chain, tiling
        self.panels = chain.panels(tiling)
        self.width = self.panels.vectors * self.panels.lanes
        self.slots = chain.ring_rows(tiling.rows)
        self.height, self.out_width = chain.y.shape[2:]
        self.blocks = -(-self.height // tiling.rows)
        self.row_floats = chain.ring_columns * self.width
        self.pixels = tiling.rows * self.out_width
        self.expand = _Expand(self, chain.expand, tiling.expand) if chain.expand and tiling.expand else None
        self.depthwise = _Depthwise(self)
        self.project = _Project(self, chain.project, tiling.project) if chain.project and tiling.project else None

    def code(self) -> Code:
        stages = [s for s in (self.expand, self.depthwise, self.project) if s]
        constants = [c for s in stages for c in s.constants]
        w = Writer()
        for stage in stages:
            stage.write_tiles(w)
        with w.block(SIGNATURE):
            w.lines(unpack(self.chain.problem, constants))
            for stage in stages:
                stage.write_operands(w)
            if not self.expand and not self.project:
                w.line("(void)scratch;")
            if self.expand:
                w.line("float *const ring = (float *)scratch;")
                self._zero_edges(w)
            if self.project:
                offset = self.chain.ring_floats(self.tiling)
                w.line(f"float *const results = (float *)scratch{f' + {offset}' if offset else ''};")
            if self.expand:
                w.line("int32_t ready = 0;")
            with w.block("for (int32_t task = begin; task < end; ++task)"):
                self._task(w)
        functions = dict.fromkeys(f for s in stages for f in s.epilogue.functions)
        label = f"conv{'x'.join(map(str, self.chain.op.window.kernel))}_{'_'.join(s.name for s in stages)}_f32"
        return Code(
            w.text(),
            f"{label}{stages[-1].epilogue.label}_{self.tiling.rows}",
            tuple(array for _, array in constants),
            self.chain.y.shape[0] * self.blocks,
            self.chain.scratch_bytes(self.tiling),
            functions=tuple(functions),
        )

    def _zero_edges(self, w: Writer) -> None:
        """Write the zeros before and behind every row of the ring."""
        before = self.chain.op.window.pads_begin[1] * self.width
        behind = before + self.chain.x.shape[3] * self.width
        spans = [(a, b) for a, b in ((0, before), (behind, self.row_floats)) if a < b]
        if not spans:
            return
        with w.loop("row", self.panels.count * self.slots):
            for start, stop in spans:
                with w.block(f"for (int32_t i = {start}; i < {stop}; ++i)"):
                    w.line(f"ring[(ptrdiff_t)row * {self.row_floats} + i] = 0.0f;")

    def _task(self, w: Writer) -> None:
        window, extent, rows = self.chain.op.window, self.chain.x.shape[2], self.tiling.rows
        w.line(f"ES_UNUSED const int32_t n = task / {self.blocks}, block = task % {self.blocks};")
        w.line(f"const int32_t start = block * {rows};")
        w.line(f"const int32_t stop = start + {rows} < {self.height} ? start + {rows} : {self.height};")
        if self.expand:
            reach = (window.kernel[0] - 1) * window.dilations[0] + 1 - window.pads_begin[0]
            w.line("if (block == 0) { ready = 0; }")
            w.line(f"const int32_t highest = (stop - 1) * {window.strides[0]} + {reach};")
            w.line(f"const int32_t bottom = highest < {extent} ? highest : {extent};")
            w.line(f"const int32_t lowest = start * {window.strides[0]} - {window.pads_begin[0]};")
            w.line("const int32_t fresh = ready > lowest ? ready : lowest;")
        with w.loop("panel", self.panels.count):
            if self.expand:
                self.expand.write(w)
            self.depthwise.write(w)
        if self.expand:
            w.line("ready = bottom;")
        if self.project:
            self.project.write(w)


class _Stage(ABC):
    """One convolution of the chain with the operators after it.

    Its constants and the operands of its epilogue carry its name as suffix in the function of the chain.
    """

    name: str

    def __init__(self, code: ChainCode, problem: Problem, epilogue: Epilogue, panels: Panels) -> None:
        self.code, self.problem, self.epilogue, self.panels = code, problem, epilogue, panels
        self.lanes = panels.lanes
        self.constants: list[tuple[str, np.ndarray]] = []
        for name, array in epilogue.constants:
            self._add(name, array)

    def _add(self, name: str, array: np.ndarray) -> None:
        self.constants.append((f"{name}_{self.name}", array))

    @abstractmethod
    def write_tiles(self, w: Writer) -> None:
        """Write the static functions of the register tiles."""

    def write_operands(self, w: Writer) -> None:
        """Write pointers to the run-time operands of the epilogue."""
        whole = self.code.chain.problem.region.inputs
        for value, operand in zip(self.epilogue.values, self.epilogue.operands, strict=False):
            w.line(f"const float *const {operand.pointer}_{self.name} = x{whole.index(value)};")


class _Depthwise(_Stage):
    name = "depthwise"

    def __init__(self, code: ChainCode) -> None:
        chain = code.chain
        super().__init__(
            code, chain.depthwise, chain.epilogue, Panels(chain.channels, chain.lanes, code.tiling.vectors)
        )
        self.window = chain.op.window
        self.tiles = chain.tiles(code.tiling)
        self.block = self.panels.vectors * self.lanes
        node, constants = self.problem.anchor, self.problem.graph.constants
        self.taps = self.window.kernel[0] * self.window.kernel[1]
        padded = np.zeros((self.panels.count * self.block, self.taps), np.float32)
        padded[: chain.channels] = constants[node.inputs[1]].reshape(-1, self.taps)
        # (block, tap, channel of the block)
        self._add("weights", np.ascontiguousarray(padded.reshape(-1, self.block, self.taps).transpose(0, 2, 1)))
        bias = constants[node.inputs[2]] if len(node.inputs) > 2 and node.inputs[2] else None
        self._add("bias", pack_bias(bias, self.panels))
        self.column = code.width if code.expand else chain.x.strides[3]
        self.y = View(chain.y.shape, (0, 1, 0, code.width), DType.F32) if chain.project else chain.y

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
                        self._kernel_rows(w, cols, vectors, None if self.code.expand else tail)
                    else:
                        w.line("(void)rows, (void)at, (void)first, (void)last, (void)w;")
                    self.epilogue.store(w, self.y, range(cols.rows), vectors, tail, row_axis=3)
                w.line()

    def _kernel_rows(self, w: Writer, cols: Columns, vectors: int, tail: int | None) -> None:
        """Write the sum over the kernel's rows: unrolled where all of them lie inside, else a loop."""
        kh, kw = self.window.kernel

        def row(t: str) -> None:
            w.line(f"const float *const x = rows[{t}] + at;")
            w.line(f"const float *const wt = w + {t} * {kw * self.block};")
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
                w.line(f"const es_v w{k}_{v} = es_load(wt + {k * self.block + v * self.lanes});")
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
        """Write the depthwise convolution of a block for the channels of ``panel``."""
        code, window = self.code, self.window
        groups = code.panels.vectors // self.panels.vectors
        with w.block("for (int32_t oh = start; oh < stop; ++oh)"):
            write_row_range(w, window, code.chain.x.shape[2])
            w.line(f"const float *rows[{window.kernel[0]}];")
            with w.block("for (int32_t t = first; t < last; ++t)"):
                row = f"(top + t * {window.dilations[0]})" if window.dilations[0] > 1 else "(top + t)"
                w.line(f"rows[t] = {self._row(row)};")
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

    def _row(self, row: str) -> str:
        code = self.code
        if code.expand:
            return f"ring + ((ptrdiff_t)panel * {code.slots} + {row} % {code.slots}) * {code.row_floats}"
        x = code.chain.x
        pointer = f"x{code.chain.problem.region.inputs.index(self.problem.anchor.inputs[0])}"
        return f"{pointer} + (ptrdiff_t)n * {x.strides[0]} + (ptrdiff_t){row} * {x.strides[2]}"

    def _group(self, w: Writer) -> None:
        code = self.code
        position = [(0, "n"), (1, "channel"), (2, "oh")]
        w.line(f"ES_UNUSED const int32_t channel = group * {self.block};")
        w.line(f"const float *const wp = weights_depthwise + (ptrdiff_t)group * {self.taps * self.block};")
        w.line("const float *const bp = bias_depthwise + channel;")
        inside = f"channel - panel * {code.width}"
        if code.expand:
            w.line(f"const ptrdiff_t at = {inside};")
        else:
            w.line(f"const ptrdiff_t at = channel - {self.window.pads_begin[1] * self.column};")
        if code.project:
            pixel = f"((ptrdiff_t)panel * {code.pixels} + (oh - start) * {code.out_width}) * {code.width}"
            w.line(f"float *const yp = results + {pixel} + {inside};")
        else:
            w.line(f"float *const yp = y0 + {strided(self.y, position)};")
        for array in self.epilogue.operands:
            start = strided(array.view, position)
            w.line(f"const float *const {array.pointer}_row = {array.pointer}_depthwise + {start};")
        self.panels.write_variants(w, "group", lambda variant: self._calls(w, variant))

    def _calls(self, w: Writer, variant: int) -> None:
        for number, cols in enumerate(self.tiles):
            with w.loop("tile", cols.tiles):
                w.line(f"const int32_t ow = {cols.first} + tile * {cols.rows};")
                x = f"at + (ptrdiff_t)ow * {self.window.strides[1] * self.column}"
                y = f"yp + {strided(self.y, [(3, 'ow')])}"
                operands = self.epilogue.arguments([(3, "ow")], "_row")
                w.line(f"@NAME@_depthwise_{variant}_{number}(rows, {x}, first, last, wp, bp, {y}{operands});")


class _Pointwise(_Stage):
    """A product in register tiles over runs of pixels."""

    def __init__(self, code: ChainCode, product: Product, tile: TileShape, y: View) -> None:
        super().__init__(
            code, product.problem, product.epilogue, Panels(product.channels, code.chain.lanes, tile.vectors)
        )
        self.product, self.tile, self.y = product, tile, y
        self.panel_width = tile.vectors * self.lanes
        self._add("weights", pack(product.weights, self.panels))
        self._add("bias", pack_bias(product.bias, self.panels))

    @property
    @abstractmethod
    def runs(self) -> tuple[int, ...]:
        """Every length of a run of pixels."""

    @abstractmethod
    def reduce(self, w: Writer, rows: range, vectors: int) -> None:
        """Write the sums of a tile."""

    def write_tiles(self, w: Writer) -> None:
        parameters = f"const float *x, const float *w, const float *b, float *y{self.epilogue.parameters}"
        for variant, (vectors, tail) in enumerate(self.panels.variants()):
            for size in sorted({size for run in self.runs for size, _ in balanced(run, self._rows(vectors))}):
                with w.block(f"static void @NAME@_{self.name}_{variant}_{size}({parameters})"):
                    declare(w, range(size), vectors, self.lanes)
                    self.reduce(w, range(size), vectors)
                    self.epilogue.store(w, self.y, range(size), vectors, tail, row_axis=0)
                w.line()

    def _rows(self, vectors: int) -> int:
        """Rows of a tile with this many vectors: narrow ones need more for as many sums."""
        if vectors == self.tile.vectors:
            return self.tile.rows
        tiles = [t for t in candidates(self.problem.target, max(self.runs), vectors) if t.vectors == vectors]
        return min(tiles, key=lambda t: (cycles_per_step(t) / t.rows, t.rows)).rows

    def write_panel(self, w: Writer, panel: str) -> None:
        """Write the pointers to the weights and the bias of a panel and its first channel."""
        w.line(f"ES_UNUSED const int32_t channel = {panel} * {self.panel_width};")
        steps = self.product.steps * self.panel_width
        w.line(f"const float *const wp = weights_{self.name} + (ptrdiff_t){panel} * {steps};")
        w.line(f"const float *const bp = bias_{self.name} + channel;")

    def write_run(self, w: Writer, panel: str, length: int, x: str, x_step: int, y: str) -> None:
        """Write the tiles of a run of pixels, the first one of which is the C variable ``pixel``.

        Args:
            x: pointer to the first pixel's input.
            x_step: input elements from one pixel to the next.
            y: pointer to the first pixel's result.
        """

        def calls(variant: int) -> None:
            first = 0
            for size, count in balanced(length, self._rows(self.panels.variants()[variant][0])):
                with w.loop("tile", count):
                    w.line(f"const int32_t i = {first} + tile * {size};")
                    operands = self.epilogue.arguments([(0, "pixel + i"), (1, "channel")], f"_{self.name}")
                    to = f"{y} + (ptrdiff_t)i * {self.y.strides[0]}"
                    of = f"{x} + (ptrdiff_t)i * {x_step}"
                    w.line(f"@NAME@_{self.name}_{variant}_{size}({of}, wp, bp, {to}{operands});")
                first += size * count

        self.panels.write_variants(w, panel, calls)


class _Expand(_Pointwise):
    name = "expand"

    def __init__(self, code: ChainCode, product: Product, tile: TileShape) -> None:
        super().__init__(code, product, tile, View(product.y.shape, (code.width, 1), DType.F32))

    @property
    def runs(self) -> tuple[int, ...]:
        return (self.code.chain.x.shape[3],)

    def reduce(self, w: Writer, rows: range, vectors: int) -> None:
        p = self.product
        segment = Segment(p.steps, "0", p.x.strides[1] if p.steps > 1 else 1, tuple(rows))
        accumulate(w, segment, lambda r: r * p.x.strides[0], vectors, self.lanes)

    def write(self, w: Writer) -> None:
        """Write the expansion of rows ``fresh`` to ``bottom`` for ``panel``."""
        code, p = self.code, self.product
        height, width = code.chain.x.shape[2:]
        pointer = f"x{code.chain.problem.region.inputs.index(self.problem.anchor.inputs[0])}"
        with w.block("for (int32_t row = fresh; row < bottom; ++row)"):
            self.write_panel(w, "panel")
            w.line(f"ES_UNUSED const ptrdiff_t pixel = ((ptrdiff_t)n * {height} + row) * {width};")
            w.line(f"const float *const xp = {pointer} + pixel * {p.x.strides[0]};")
            edge = code.chain.op.window.pads_begin[1] * code.width
            slot = f"((ptrdiff_t)panel * {code.slots} + row % {code.slots}) * {code.row_floats} + {edge}"
            w.line(f"float *const yp = ring + {slot};")
            self.write_run(w, "panel", width, "xp", p.x.strides[0], "yp")


class _Project(_Pointwise):
    name = "project"

    def __init__(self, code: ChainCode, product: Product, tile: TileShape) -> None:
        super().__init__(code, product, tile, product.y)

    @property
    def runs(self) -> tuple[int, ...]:
        code = self.code
        last = (code.height - (code.blocks - 1) * code.tiling.rows) * code.out_width
        return (code.pixels, last) if last != code.pixels and code.blocks > 1 else (last,)

    def reduce(self, w: Writer, rows: range, vectors: int) -> None:
        code = self.code
        full, rest = divmod(self.product.steps, code.width)

        def panel(steps: int) -> None:
            accumulate(w, Segment(steps, "0", 1, tuple(rows)), lambda r: r * code.width, vectors, self.lanes)

        if full:
            with w.loop("panel", full):
                panel(code.width)
                w.line(f"x += {code.pixels * code.width};")
        if rest:
            panel(rest)

    def write(self, w: Writer) -> None:
        """Write the projection of a block."""
        code = self.code
        w.line(f"ES_UNUSED const ptrdiff_t pixel = ((ptrdiff_t)n * {code.height} + start) * {code.out_width};")
        with w.loop("part", self.panels.count):
            self.write_panel(w, "part")
            w.line(f"float *const yp = y0 + {strided(self.y, [(0, 'pixel'), (1, 'channel')])};")
            whole, *last = self.runs
            if not last:
                self.write_run(w, "part", whole, "results", code.width, "yp")
                return
            with w.block(f"if (stop - start == {code.tiling.rows})"):
                self.write_run(w, "part", whole, "results", code.width, "yp")
            with w.block("else"):
                self.write_run(w, "part", last[0], "results", code.width, "yp")
