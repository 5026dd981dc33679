"""Indirect convolution: a GEMM whose input rows are found through a table.

The table says for each output pixel and tap where the channels of the input pixel lie, or that it lies in the padding,
which a row of zeros stands for. So register tiles run over the pixels of an image regardless of where its lines end,
and no input is copied. The table is filled once, by ``prepare`` (Dukhan, "The indirect convolution algorithm",
arXiv:1907.02129).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np

from edgesmith.c.writer import Writer
from edgesmith.ir import Graph, Node, View
from edgesmith.kernels.base import PREPARE_SIGNATURE, SIGNATURE, Code, Kernel, Problem, Reject, Schedule, kernel, unpack
from edgesmith.kernels.conv.convolution import Convolution, reject
from edgesmith.kernels.conv.direct import register_tiles
from edgesmith.kernels.cycles import FLOAT_BYTES
from edgesmith.kernels.epilogue import Epilogue, strided
from edgesmith.kernels.region import Region, epilogue_chains
from edgesmith.kernels.tile import Panels, TileShape, cycles_per_step, declare, input_cycles
from edgesmith.ops.conv import Conv

TASKS_PER_CORE = 4
ENTRY_BYTES = 4
MOST_ELEMENTS = 2**31 - 1
TILE_CYCLES, ROW_CYCLES = 20.0, 2.0


def _pixels(view: View) -> View | None:
    """(N, C, H, W) as (N, C, H x W); None where lines are not evenly spaced."""
    n, c, height, width = view.shape
    return view.reshape((n, c, height * width))


@kernel
class Indirect(Kernel):
    """Any 2-D convolution of more than one tap with channels innermost in input and output."""

    name: ClassVar[str] = "indirect"
    always_prepares: ClassVar[bool] = True

    def regions(self, graph: Graph, anchor: Node) -> Iterator[Region]:
        if isinstance(anchor.op, Conv):
            yield from epilogue_chains(graph, anchor)

    def accepts(self, problem: Problem) -> Reject | None:
        reason = reject(problem)
        if reason is not None:
            return reason
        c = Convolution(problem)
        if c.taps == 1 and c.window.strides == (1, 1):
            return Reject("1x1 kernel: input rows are found without a table")
        if c.group > 1 and c.out_channels == 1:
            return Reject("one filter a group leaves a matrix of one column")
        if c.x.strides[1] != 1 and c.x.shape[1] > 1:
            return Reject(f"input channels have stride {c.x.strides[1]}, the table leads to neighbours")
        if c.x.span > MOST_ELEMENTS:
            return Reject("offsets in the input do not fit 32 bits")
        if _pixels(c.y) is None:
            return Reject(f"output {c.y} has uneven rows")
        epilogue = Epilogue(problem, project=_pixels)
        return Reject(epilogue.reject) if epilogue.reject else None

    def schedules(self, problem: Problem) -> Sequence[Schedule]:
        c = Convolution(problem)
        vectors = -(-c.out_channels // problem.target.lanes)
        pixels = c.y.shape[2] * c.y.shape[3]
        return [{"rows": t.rows, "vectors": t.vectors} for t in register_tiles(problem.target, pixels, vectors)]

    def cost(self, problem: Problem, schedule: Schedule) -> float:
        return 100 + _Emitter(problem, schedule).nanoseconds()

    def in_place(self, problem: Problem) -> tuple[str, ...]:
        return Epilogue(problem).in_place(problem)

    def emit(self, problem: Problem, schedule: Schedule) -> Code:
        return _Emitter(problem, schedule).code()


class _Emitter:
    """One problem with one register tile."""

    def __init__(self, problem: Problem, schedule: Schedule) -> None:
        self.c, self.tile = Convolution(problem), TileShape(schedule["rows"], schedule["vectors"])
        self.target, self.lanes = problem.target, problem.target.lanes
        self.panels = Panels(self.c.out_channels, self.lanes, self.tile.vectors)
        y = _pixels(self.c.y)
        assert y is not None
        self.y, self.epilogue = y, Epilogue(problem, project=_pixels)
        self.pixels = y.shape[2]
        self.tiles, self.rest = divmod(self.pixels, self.tile.rows)
        all_tiles = self.tiles + (self.rest > 0)
        columns = self.c.group * self.panels.count * self.c.batch
        self.parts = min(all_tiles, -(-TASKS_PER_CORE * self.target.cores // columns))

    def nanoseconds(self) -> float:
        """Predicted time on one core: multiply-adds, and the weights' way from the caches."""
        c, target = self.c, self.target
        fill = input_cycles(target, self.tile.rows, c.window.strides[1] * c.x.strides[3], c.in_channels)
        counts = [n for n in (self.panels.full, 1 if self.panels.tail_vectors else 0) if n]
        cycles = 0.0
        for panels, (vectors, _) in zip(counts, self.panels.variants(), strict=True):
            step_bytes = vectors * self.lanes * FLOAT_BYTES
            fetch = step_bytes / target.core.l2_bytes_per_cycle if step_bytes * c.steps > target.l1_bytes // 2 else 0.0
            for rows, tiles in ((self.tile.rows, self.tiles), (self.rest, 1)):
                if rows and tiles:
                    step = cycles_per_step(target, TileShape(rows, vectors), fill * rows / self.tile.rows)
                    step = max(step, fetch) + 0.1 * min(step, fetch)
                    tap = c.in_channels * step + rows * ROW_CYCLES + TILE_CYCLES
                    cycles += panels * tiles * (c.taps * tap + TILE_CYCLES + rows * vectors)
        return c.group * c.batch * cycles / target.gigahertz + c.weights.nbytes / target.core.memory_bytes_per_ns

    def code(self) -> Code:
        c = self.c
        zeros = np.zeros(c.in_channels, np.float32)
        constants = [("weights", c.packed_weights(self.panels)), ("bias", c.packed_bias(self.panels)), ("zeros", zeros)]
        constants += self.epilogue.constants
        w = Writer()
        for variant, (vectors, tail) in enumerate(self.panels.variants()):
            for rows in self._heights():
                self._tile(w, f"@NAME@_{variant}_{rows}", rows, vectors, tail)
        last = len(c.problem.region.inputs) + 1 + len(constants)
        self._prepare(w, last)
        with w.block(SIGNATURE):
            w.lines(unpack(c.problem, constants))
            w.line(f"const int32_t *const table = (const int32_t *)p[{last}];")
            w.line("(void)scratch;")
            with w.block("for (int32_t task = begin; task < end; ++task)"):
                self._task(w)
        return Code(
            w.text(),
            c.label("indirect", f"{self.tile.rows}x{self.tile.vectors}"),
            tuple(a for _, a in constants),
            c.group * self.panels.count * c.batch * self.parts,
            functions=self.epilogue.functions,
            prepared_bytes=self.pixels * c.taps * ENTRY_BYTES,
        )

    def _heights(self) -> list[int]:
        """Rows of the tiles that occur."""
        return [h for h in (self.tile.rows if self.tiles else 0, self.rest) if h]

    def _prepare(self, w: Writer, position: int) -> None:
        """Write the function that fills the table: for each tile, tap and row an offset, ``INT32_MIN`` for padding."""
        c, x, rows = self.c, self.c.x, self.tile.rows
        (sh, sw), (dh, dw), (ph, pw) = c.window.strides, c.window.dilations, c.window.pads_begin
        with w.block(PREPARE_SIGNATURE):
            w.line(f"int32_t *const table = (int32_t *)p[{position}];")
            with w.loop("pixel", self.pixels):
                w.line(f"const int32_t tile = pixel / {rows}, row = pixel % {rows};")
                w.line(f"const int32_t rows = {self._rows('tile')};")
                w.line(f"int32_t *const entry = table + tile * {rows * c.taps} + row;")
                with w.nest([("i", c.window.kernel[0]), ("j", c.window.kernel[1])]):
                    w.line(f"const int32_t ih = pixel / {c.y.shape[3]} * {sh} + i * {dh} - {ph};")
                    w.line(f"const int32_t iw = pixel % {c.y.shape[3]} * {sw} + j * {dw} - {pw};")
                    w.line(f"const int inside = ih >= 0 && ih < {x.shape[2]} && iw >= 0 && iw < {x.shape[3]};")
                    offset = f"inside ? ih * {x.strides[2]} + iw * {x.strides[3]} : INT32_MIN"
                    w.line(f"entry[(i * {c.window.kernel[1]} + j) * rows] = {offset};")
        w.line()

    def _rows(self, tile: str) -> str:
        """C text of the number of rows of a tile."""
        return f"{tile} < {self.tiles} ? {self.tile.rows} : {self.rest}" if self.rest else str(self.tile.rows)

    def _task(self, w: Writer) -> None:
        c, width = self.c, self.tile.vectors * self.lanes
        all_tiles = self.tiles + (self.rest > 0)
        order = (("group", c.group), ("panel", self.panels.count), ("n", c.batch), ("part", self.parts))
        w.unravel("task", order)
        c.write_panel(w, self.panels)
        if c.y.shape[1] > 1:
            w.line(f"const int32_t channel = group * {c.out_channels} + panel * {width};")
        w.line(f"const float *const x = x0 + (ptrdiff_t)n * {c.x.strides[0]} + group * {c.in_channels};")
        w.line(f"const int32_t stop = (part + 1) * {all_tiles} / {self.parts};")
        position = [(0, "n"), (1, "channel"), (2, "pixel")]
        rows, entries = self.tile.rows, self.tile.rows * c.taps

        def call(variant: int, rows: int) -> str:
            y = f"y0 + {strided(self.y, position)}{self.epilogue.arguments(position)}"
            return f"@NAME@_{variant}_{rows}(x, table + tile * {entries}, zeros, wp, bp, {y});"

        def tile(variant: int) -> None:
            if self.rest and self.tiles:
                w.line(f"if (tile < {self.tiles}) {{ {call(variant, rows)} }} else {{ {call(variant, self.rest)} }}")
            else:
                w.line(call(variant, self._heights()[0]))

        with w.block(f"for (int32_t tile = part * {all_tiles} / {self.parts}; tile < stop; ++tile)"):
            w.line(f"ES_UNUSED const int32_t pixel = tile * {rows};")
            self.panels.write_variants(w, "panel", tile)

    def _tile(self, w: Writer, name: str, rows: int, vectors: int, tail: int | None) -> None:
        c = self.c
        parameters = (
            "const float *x, const int32_t *table, const float *zeros, const float *w, const float *b, float *y"
        )
        with w.block(f"static void {name}({parameters}{self.epilogue.parameters})"):
            declare(w, range(rows), vectors, self.lanes)
            with w.block(f"for (int32_t t = 0; t < {c.taps}; ++t, table += {rows})"):
                for r in range(rows):
                    w.line(f"const float *const x{r} = table[{r}] == INT32_MIN ? zeros : x + table[{r}];")
                with w.block(f"for (ptrdiff_t k = 0; k < {c.in_channels}; ++k, w += {vectors * self.lanes})"):
                    for v in range(vectors):
                        w.line(f"const es_v b{v} = es_load(w + {v * self.lanes});")
                    for r in range(rows):
                        w.line(f"const es_v a{r} = es_set1(x{r}[k]);")
                        for v in range(vectors):
                            w.line(f"c{r}_{v} = es_fma(a{r}, b{v}, c{r}_{v});")
            self.epilogue.store(w, self.y, range(rows), vectors, tail, row_axis=2)
        w.line()
