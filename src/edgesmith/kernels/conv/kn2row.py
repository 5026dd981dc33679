"""kn2row: a convolution as the sum of its taps, each a 1x1 convolution of the shifted input.

Vasudevan, Anderson and Gregg, "Parallel multi channel convolution using general matrix multiplication", ASAP 2017. The
sums of a block of output rows and one panel of channels wait in the worker's scratch memory from tap to tap.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from edgesmith.c.writer import Writer
from edgesmith.ir import Graph, Node
from edgesmith.kernels.base import SIGNATURE, Code, Kernel, Problem, Reject, Schedule, kernel, unpack
from edgesmith.kernels.conv.convolution import Convolution, reject
from edgesmith.kernels.cycles import near_memory_ns
from edgesmith.kernels.epilogue import Epilogue, strided
from edgesmith.kernels.region import Region, epilogue_chains
from edgesmith.kernels.tile import Panels, Segment, TileShape, accumulate, candidates, cycles_per_step, input_cycles
from edgesmith.ops.conv import Conv

TARGET_TASKS = 32
TILE_CYCLES = 10.0


@kernel
class Kn2row(Kernel):
    """Any 2-D convolution with more than one tap: input in any layout, output with channels innermost."""

    name: ClassVar[str] = "kn2row"

    def regions(self, graph: Graph, anchor: Node) -> Iterator[Region]:
        if isinstance(anchor.op, Conv):
            yield from epilogue_chains(graph, anchor)

    def accepts(self, problem: Problem) -> Reject | None:
        reason = reject(problem)
        if reason is not None:
            return reason
        c = Convolution(problem)
        if c.taps == 1:
            return Reject("one tap: nothing to add")
        if c.group > 1 and c.out_channels == 1:
            return Reject("one filter a group leaves a matrix of one column")
        return None

    def schedules(self, problem: Problem) -> Sequence[Schedule]:
        c = Convolution(problem)
        vectors = -(-c.out_channels // problem.target.lanes)
        return [{"rows": t.rows, "vectors": t.vectors} for t in candidates(problem.target, c.y.shape[3], vectors)]

    def cost(self, problem: Problem, schedule: Schedule) -> float:
        return 100 + _Emitter(problem, TileShape(schedule["rows"], schedule["vectors"])).nanoseconds()

    def in_place(self, problem: Problem) -> tuple[str, ...]:
        return Epilogue(problem).in_place(problem)

    def emit(self, problem: Problem, schedule: Schedule) -> Code:
        return _Emitter(problem, TileShape(schedule["rows"], schedule["vectors"])).code()


class _Emitter:
    """One problem with one tile; a task is some output rows."""

    def __init__(self, problem: Problem, tile: TileShape) -> None:
        self.c, self.tile = Convolution(problem), tile
        self.target = problem.target
        self.lanes = problem.target.lanes
        self.panels = Panels(self.c.out_channels, self.lanes, tile.vectors)
        self.height, self.width = self.c.y.shape[2:]
        self.lines = max(1, -(-self.height // max(1, TARGET_TASKS // self.c.batch)))
        self.blocks = -(-self.height // self.lines)
        self.spans = [self._span(tap) for tap in range(self.c.window.kernel[1])]

    def _span(self, tap: int) -> tuple[int, int]:
        """Output columns of which a column of taps lies inside the input."""
        window = self.c.window
        shift, stride = tap * window.dilations[1] - window.pads_begin[1], window.strides[1]
        inside = [o for o in range(self.width) if 0 <= o * stride + shift < self.c.x.shape[3]]
        return (inside[0], inside[-1] + 1) if inside else (0, 0)

    @property
    def pixel_stride(self) -> int:
        """Input elements between the inputs of neighbouring output columns."""
        return self.c.window.strides[1] * self.c.x.strides[3]

    def nanoseconds(self) -> float:
        """Predicted time on one core."""
        c, rows = self.c, self.tile.rows
        fill = input_cycles(self.target, rows, self.pixel_stride, c.in_channels)
        line = 0.0
        for vectors, tail in self.panels.variants():
            count = self.panels.full if tail is None and vectors == self.tile.vectors and self.panels.full else 1
            for first, last in self.spans:
                whole, rest = divmod(last - first, rows)
                for height, tiles in ((rows, whole), (rest, 1)):
                    if height and tiles:
                        step = cycles_per_step(self.target, TileShape(height, vectors), fill * height / rows)
                        line += count * tiles * (step * c.in_channels + TILE_CYCLES + 1.5 * height * vectors)
            line += 2 * count * self.width * vectors
        cycles = c.group * c.batch * self.height * c.window.kernel[0] * line
        loads = c.batch * self.blocks if c.weights.nbytes > self.target.l2_bytes // 2 else 1
        return cycles / self.target.gigahertz + near_memory_ns(loads * c.weights.nbytes, self.target)

    def code(self) -> Code:
        c = self.c
        constants = [("weights", c.packed_weights(self.panels)), ("bias", c.packed_bias(self.panels))]
        constants += c.epilogue.constants
        w = Writer()
        for variant, (vectors, tail) in enumerate(self.panels.variants()):
            for rows in self._heights():
                self._tile(w, f"@NAME@_{variant}_{rows}", rows, vectors)
            self._finish(w, f"@NAME@_{variant}_finish", vectors, tail)
        for name, values in zip(("first", "last"), zip(*self.spans, strict=True), strict=True):
            w.line(f"static const int32_t @NAME@_{name}[] = {{{', '.join(map(str, values))}}};")
        w.line()
        with w.block(SIGNATURE):
            w.lines(unpack(c.problem, constants))
            w.line("float *const sums = (float *)scratch;")
            with w.block("for (int32_t task = begin; task < end; ++task)"):
                w.unravel("task", (("n", c.batch), ("block", self.blocks)))
                w.line(f"const int32_t top = block * {self.lines};")
                bottom = f"top + {self.lines} < {self.height} ? top + {self.lines} : {self.height}"
                w.line(f"const int32_t bottom = {bottom};")
                with w.loop("group", c.group), w.loop("panel", self.panels.count):
                    c.write_panel(w, self.panels)
                    self.panels.write_variants(w, "panel", lambda variant: self._panel(w, variant))
        return Code(
            w.text(),
            c.label("kn2row", f"{self.tile.rows}x{self.tile.vectors}"),
            tuple(a for _, a in constants),
            c.batch * self.blocks,
            scratch_bytes=self.lines * self.width * self.tile.vectors * self.lanes * 4,
            functions=c.epilogue.functions,
        )

    def _heights(self) -> list[int]:
        """Rows of the tiles that occur, the largest first."""
        rows = self.tile.rows
        widths = {last - first for first, last in self.spans}
        found = {width % rows for width in widths} | {rows for width in widths if width >= rows}
        return sorted(found - {0}, reverse=True)

    def _panel(self, w: Writer, variant: int) -> None:
        """All taps of one panel, then the epilogue."""
        c, vectors = self.c, self.panels.variants()[variant][0]
        width = vectors * self.lanes
        (kh, kw), (sh, _), (dh, dw) = c.window.kernel, c.window.strides, c.window.dilations
        with w.block(f"for (int32_t pixel = 0; pixel < (bottom - top) * {self.width}; ++pixel)"):
            for v in range(vectors):
                w.line(f"es_store(sums + pixel * {width} + {v * self.lanes}, es_load(bp + {v * self.lanes}));")
        with w.loop("i", kh), w.loop("j", kw):
            w.line(f"const float *const wt = wp + (ptrdiff_t)(i * {kw} + j) * {c.in_channels * width};")
            with w.block("for (int32_t oh = top; oh < bottom; ++oh)"):
                w.line(f"const int32_t ih = oh * {sh} + i * {dh} - {c.window.pads_begin[0]};")
                with w.block(f"if (ih < 0 || ih >= {c.x.shape[2]})"):
                    w.line("continue;")
                image = f"(ptrdiff_t)n * {c.x.strides[0]} + (ptrdiff_t)group * {c.in_channels * c.x.strides[1]}"
                column = f"(j * {dw} - {c.window.pads_begin[1]}) * {c.x.strides[3]}"
                w.line(f"const ptrdiff_t at = {image} + (ptrdiff_t)ih * {c.x.strides[2]} + {column};")
                w.line(f"float *const row = sums + (ptrdiff_t)(oh - top) * {self.width * width};")
                w.line("int32_t ow = @NAME@_first[j];")
                for rows in self._heights():
                    with w.block(f"for (; ow + {rows} <= @NAME@_last[j]; ow += {rows})"):
                        x = f"x0 + (at + (ptrdiff_t)ow * {self.pixel_stride})"
                        w.line(f"@NAME@_{variant}_{rows}({x}, wt, row + ow * {width});")
        w.line(f"const int32_t channel = group * {c.out_channels} + panel * {self.tile.vectors * self.lanes};")
        with w.block("for (int32_t oh = top; oh < bottom; ++oh)"):
            w.line(f"const float *const row = sums + (ptrdiff_t)(oh - top) * {self.width * width};")
            with w.loop("ow", self.width):
                position = [(0, "n"), (1, "channel"), (2, "oh"), (3, "ow")]
                y = f"y0 + {strided(c.y, position)}{c.epilogue.arguments(position)}"
                w.line(f"@NAME@_{variant}_finish(row + ow * {width}, {y});")

    def _tile(self, w: Writer, name: str, rows: int, vectors: int) -> None:
        """Adds one tap to the sums of some neighbouring pixels."""
        sums = [(r, v, (r * vectors + v) * self.lanes) for r in range(rows) for v in range(vectors)]
        with w.block(f"static void {name}(const float *x, const float *w, float *sums)"):
            for r, v, at in sums:
                w.line(f"es_v c{r}_{v} = es_load(sums + {at});")
            segment = Segment(self.c.in_channels, "0", self.c.x.strides[1], tuple(range(rows)))
            accumulate(w, segment, lambda r: r * self.pixel_stride, vectors, self.target)
            for r, v, at in sums:
                w.line(f"es_store(sums + {at}, c{r}_{v});")
        w.line()

    def _finish(self, w: Writer, name: str, vectors: int, tail: int | None) -> None:
        """The epilogue of one pixel."""
        with w.block(f"static void {name}(const float *sums, float *y{self.c.epilogue.parameters})"):
            for v in range(vectors):
                w.line(f"const es_v c0_{v} = es_load(sums + {v * self.lanes});")
            self.c.epilogue.store(w, self.c.y, [0], vectors, tail, row_axis=3)
        w.line()
