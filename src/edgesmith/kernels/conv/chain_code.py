"""C of chains of pointwise and depthwise convolutions over blocks of output rows.

A task is a block of output rows. For each panel of expanded channels it expands the input rows that no task before it
has expanded, into a ring of rows in the worker's scratch memory, and runs the depthwise convolution over the ring while
these rows are in the first-level cache; then it projects the block. A worker computes neighbouring tasks one after the
other, so that rows which two blocks share are expanded twice only where the range of a worker begins.

Rows of the ring have columns of zeros where the depthwise window reaches over the edges: all tiles there are alike.
"""

from __future__ import annotations

from abc import abstractmethod

from edgesmith.c.writer import Writer
from edgesmith.ir import DType, View
from edgesmith.kernels.base import SIGNATURE, Code, unpack
from edgesmith.kernels.conv.chain import Chain, Tiling, balanced
from edgesmith.kernels.conv.chain_depthwise import DepthwiseRows, DepthwiseTiles
from edgesmith.kernels.conv.chain_stage import Block, Stage
from edgesmith.kernels.epilogue import strided
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
        self.block = block = Block(chain, tiling)
        self.expand = _Expand(block, chain.expand, tiling.expand) if chain.expand and tiling.expand else None
        self.depthwise = DepthwiseTiles(block) if tiling.lines else DepthwiseRows(block)
        self.project = _Project(block, chain.project, tiling.project) if chain.project and tiling.project else None

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
            self.chain.y.shape[0] * self.block.count,
            self.chain.scratch_bytes(self.tiling),
            functions=tuple(functions),
        )

    def _zero_edges(self, w: Writer) -> None:
        """Write the zeros before and behind every row of the ring."""
        block = self.block
        before = self.chain.op.window.pads_begin[1] * block.width
        behind = before + self.chain.x.shape[3] * block.width
        spans = [(a, b) for a, b in ((0, before), (behind, block.row_floats)) if a < b]
        if not spans:
            return
        with w.loop("row", block.panels.count * block.slots):
            for start, stop in spans:
                with w.block(f"for (int32_t i = {start}; i < {stop}; ++i)"):
                    w.line(f"ring[(ptrdiff_t)row * {block.row_floats} + i] = 0.0f;")

    def _task(self, w: Writer) -> None:
        window, extent, rows = self.chain.op.window, self.chain.x.shape[2], self.tiling.rows
        block = self.block
        w.line(f"ES_UNUSED const int32_t n = task / {block.count}, block = task % {block.count};")
        w.line(f"const int32_t start = block * {rows};")
        w.line(f"const int32_t stop = start + {rows} < {block.height} ? start + {rows} : {block.height};")
        if self.expand:
            reach = (window.kernel[0] - 1) * window.dilations[0] + 1 - window.pads_begin[0]
            w.line("if (block == 0) { ready = 0; }")
            w.line(f"const int32_t highest = (stop - 1) * {window.strides[0]} + {reach};")
            w.line(f"const int32_t bottom = highest < {extent} ? highest : {extent};")
            w.line(f"const int32_t lowest = start * {window.strides[0]} - {window.pads_begin[0]};")
            w.line("const int32_t fresh = ready > lowest ? ready : lowest;")
        with w.loop("panel", block.panels.count):
            if self.expand:
                self.expand.write(w)
            self.depthwise.write(w)
        if self.expand:
            w.line("ready = bottom;")
        if self.project:
            self.project.write(w)


class _Pointwise(Stage):
    """A product in register tiles over runs of pixels."""

    def __init__(self, block: Block, product: Product, tile: TileShape, y: View) -> None:
        super().__init__(block, product.problem, product.epilogue)
        self.product, self.tile, self.y = product, tile, y
        self.panels = Panels(product.channels, self.lanes, tile.vectors)
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
        return min(tiles, key=lambda t: (cycles_per_step(self.problem.target, t) / t.rows, t.rows)).rows

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

    def __init__(self, block: Block, product: Product, tile: TileShape) -> None:
        super().__init__(block, product, tile, View(product.y.shape, (block.width, 1), DType.F32))

    @property
    def runs(self) -> tuple[int, ...]:
        return (self.block.chain.x.shape[3],)

    def reduce(self, w: Writer, rows: range, vectors: int) -> None:
        p = self.product
        segment = Segment(p.steps, "0", p.x.strides[1] if p.steps > 1 else 1, tuple(rows))
        accumulate(w, segment, lambda r: r * p.x.strides[0], vectors, p.problem.target)

    def write(self, w: Writer) -> None:
        """Write the expansion of rows ``fresh`` to ``bottom`` for ``panel``."""
        block, p = self.block, self.product
        height, width = block.chain.x.shape[2:]
        with w.block("for (int32_t row = fresh; row < bottom; ++row)"):
            self.write_panel(w, "panel")
            w.line(f"ES_UNUSED const ptrdiff_t pixel = ((ptrdiff_t)n * {height} + row) * {width};")
            w.line(f"const float *const xp = {block.pointer(self.problem)} + pixel * {p.x.strides[0]};")
            edge = block.chain.op.window.pads_begin[1] * block.width
            slot = f"((ptrdiff_t)panel * {block.slots} + row % {block.slots}) * {block.row_floats} + {edge}"
            w.line(f"float *const yp = ring + {slot};")
            self.write_run(w, "panel", width, "xp", p.x.strides[0], "yp")


class _Project(_Pointwise):
    name = "project"

    def __init__(self, block: Block, product: Product, tile: TileShape) -> None:
        super().__init__(block, product, tile, product.y)

    @property
    def runs(self) -> tuple[int, ...]:
        block = self.block
        last = (block.height - (block.count - 1) * block.tiling.rows) * block.out_width
        return (block.pixels, last) if last != block.pixels and block.count > 1 else (last,)

    def reduce(self, w: Writer, rows: range, vectors: int) -> None:
        block = self.block
        full, rest = divmod(self.product.steps, block.width)

        def panel(steps: int) -> None:
            segment = Segment(steps, "0", 1, tuple(rows))
            accumulate(w, segment, lambda r: r * block.width, vectors, self.product.problem.target)

        if full:
            with w.loop("panel", full):
                panel(block.width)
                w.line(f"x += {block.pixels * block.width};")
        if rest:
            panel(rest)

    def write(self, w: Writer) -> None:
        """Write the projection of a block."""
        block = self.block
        w.line(f"ES_UNUSED const ptrdiff_t pixel = ((ptrdiff_t)n * {block.height} + start) * {block.out_width};")
        with w.loop("part", self.panels.count):
            self.write_panel(w, "part")
            w.line(f"float *const yp = y0 + {strided(self.y, [(0, 'pixel'), (1, 'channel')])};")
            whole, *last = self.runs
            if not last:
                self.write_run(w, "part", whole, "results", block.width, "yp")
                return
            with w.block(f"if (stop - start == {block.tiling.rows})"):
                self.write_run(w, "part", whole, "results", block.width, "yp")
            with w.block("else"):
                self.write_run(w, "part", last[0], "results", block.width, "yp")
