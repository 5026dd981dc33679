"""im2col: the inputs of a block of output pixels are gathered into rows of a matrix, which meets the weights as a GEMM.

Only one block is gathered at a time, into the worker's scratch memory, so that the matrix stays in the second-level
cache (Chellapilla, Puri and Simard, "High performance convolutional neural networks for document processing", 2006,
but for the whole matrix that they build).
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
from edgesmith.kernels.tile import (
    Panels,
    Segment,
    TileShape,
    accumulate,
    candidates,
    cycles_per_step,
    declare,
    input_cycles,
)
from edgesmith.ops.conv import Conv

GATHER_CYCLES = 0.4
GATHER_RUN_CYCLES = 6.0
TARGET_TASKS = 32


@kernel
class Im2col(Kernel):
    """Any 2-D convolution: input in any layout, output with channels innermost."""

    name: ClassVar[str] = "im2col"

    def regions(self, graph: Graph, anchor: Node) -> Iterator[Region]:
        if isinstance(anchor.op, Conv):
            yield from epilogue_chains(graph, anchor)

    def accepts(self, problem: Problem) -> Reject | None:
        reason = reject(problem)
        if reason is not None:
            return reason
        c = Convolution(problem)
        if c.taps == 1 and c.window.strides == (1, 1) and c.group == 1:
            return Reject("1x1 kernel: the input already is the matrix")
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
    """One problem with one tile.

    A block is some whole lines of output pixels, or a part of one line when that is too long.
    """

    def __init__(self, problem: Problem, tile: TileShape) -> None:
        self.c, self.tile = Convolution(problem), tile
        self.target = problem.target
        self.lanes = problem.target.lanes
        self.panels = Panels(self.c.out_channels, self.lanes, tile.vectors)
        self.width = self.c.y.shape[3]
        self.all_lines = self.c.batch * self.c.y.shape[2]
        pixels = max(tile.rows, problem.target.l2_bytes // 2 // (self.c.steps * 4))
        self.columns = min(self.width, pixels // tile.rows * tile.rows)
        self.chunks = -(-self.width // self.columns)
        self.lines = 1 if self.chunks > 1 else max(1, min(pixels // self.width, -(-self.all_lines // TARGET_TASKS)))

    @property
    def blocks(self) -> int:
        return -(-self.all_lines // self.lines)

    def nanoseconds(self) -> float:
        """Predicted time on one core: gathering, multiply-adds, and the weights' way into the cache for every block."""
        c, rows = self.c, self.tile.rows
        fill = input_cycles(self.target, rows, c.steps, c.steps)
        cycles = 0.0
        for vectors, tail in self.panels.variants():
            count = self.panels.full if tail is None and vectors == self.tile.vectors and self.panels.full else 1
            whole, rest = divmod(self.width, rows)
            for height, tiles in ((rows, whole), (rest, 1)):
                if height and tiles:
                    step = cycles_per_step(self.target, TileShape(height, vectors), fill * height / rows)
                    cycles += count * tiles * (step * c.steps + 10 + 2 * height * vectors)
        runs = c.window.kernel[0] * (1 if self._merged else c.window.kernel[1])
        cycles += self.width * (c.steps * GATHER_CYCLES + runs * GATHER_RUN_CYCLES)
        loads = self.blocks * self.chunks if c.weights.nbytes > self.target.l2_bytes // 2 else 1
        memory = near_memory_ns(loads * c.weights.nbytes, self.target)
        return c.group * self.all_lines * cycles / self.target.gigahertz + memory

    @property
    def _merged(self) -> bool:
        """Taps of one kernel row and their channels follow one another in memory."""
        c = self.c
        return c.group == 1 and c.window.dilations[1] == 1 and c.x.strides[1] == 1 and c.x.strides[3] == c.in_channels

    def code(self) -> Code:
        c = self.c
        constants = [("weights", c.packed_weights(self.panels)), ("bias", c.packed_bias(self.panels))]
        constants += c.epilogue.constants
        w = Writer()
        self._gather(w)
        for variant, (vectors, tail) in enumerate(self.panels.variants()):
            for rows in self._heights():
                self._tile(w, f"@NAME@_{variant}_{rows}", rows, vectors, tail)
        with w.block(SIGNATURE):
            w.lines(unpack(c.problem, constants))
            w.line("float *const matrix = (float *)scratch;")
            with w.block("for (int32_t task = begin; task < end; ++task)"), w.loop("group", c.group):
                w.line(f"const int32_t top = task / {self.chunks} * {self.lines};")
                w.line(f"const int32_t left = task % {self.chunks} * {self.columns};")
                w.line(f"const int32_t bottom = {_least(f'top + {self.lines}', self.all_lines)};")
                w.line(f"const int32_t right = {_least(f'left + {self.columns}', self.width)};")
                self._gather_block(w)
                self._multiply(w)
        return Code(
            w.text(),
            c.label("im2col", f"{self.tile.rows}x{self.tile.vectors}"),
            tuple(a for _, a in constants),
            self.blocks * self.chunks,
            scratch_bytes=self.lines * self.columns * c.steps * 4,
            functions=c.epilogue.functions,
        )

    def _heights(self) -> list[int]:
        """Rows of the tiles that occur: chunks are whole tiles but for the last one of a line."""
        rest = self.width % self.tile.rows
        return [h for h in (self.tile.rows if self.width >= self.tile.rows else 0, rest) if h]

    def _gather(self, w: Writer) -> None:
        """The inputs of one output pixel, zeros for padding."""
        c, x = self.c, self.c.x
        row_floats = c.window.kernel[1] * c.in_channels
        with w.block("static void @NAME@_gather(const float *x, int32_t oh, int32_t ow, float *row)"):
            w.line(f"const int32_t left = ow * {c.window.strides[1]} - {c.window.pads_begin[1]};")
            with w.block(f"for (int32_t i = 0; i < {c.window.kernel[0]}; ++i, row += {row_floats})"):
                top = f"oh * {c.window.strides[0]} - {c.window.pads_begin[0]}"
                w.line(f"const int32_t ih = {top} + i * {c.window.dilations[0]};")
                with w.block(f"if (ih < 0 || ih >= {x.shape[2]})"):
                    w.line(f"memset(row, 0, {row_floats} * sizeof(float));")
                    w.line("continue;")
                w.line(f"const float *const line = x + (ptrdiff_t)ih * {x.strides[2]};")
                if self._merged:
                    self._gather_run(w)
                else:
                    self._gather_taps(w)
        w.line()

    def _gather_run(self, w: Writer) -> None:
        """One kernel row in one piece, between the taps that lie left and right of the input."""
        kernel, channels = self.c.window.kernel[1], self.c.in_channels
        w.line(f"const int32_t before = left < 0 ? (-left < {kernel} ? -left : {kernel}) : 0;")
        w.line(f"const int32_t inside = {self.c.x.shape[3]} - left < {kernel} ? {self.c.x.shape[3]} - left : {kernel};")
        w.line("const int32_t after = inside > before ? inside : before;")
        w.line(f"memset(row, 0, (size_t)(before * {channels}) * sizeof(float));")
        with w.block("if (after > before)"):
            source, size = f"line + (ptrdiff_t)(left + before) * {channels}", f"(size_t)((after - before) * {channels})"
            w.line(f"memcpy(row + before * {channels}, {source}, {size} * sizeof(float));")
        w.line(f"memset(row + after * {channels}, 0, (size_t)(({kernel} - after) * {channels}) * sizeof(float));")

    def _gather_taps(self, w: Writer) -> None:
        """One kernel row tap by tap."""
        c, x, channels = self.c, self.c.x, self.c.in_channels
        with w.loop("j", c.window.kernel[1]):
            w.line(f"const int32_t iw = left + j * {c.window.dilations[1]};")
            with w.block(f"if (iw < 0 || iw >= {x.shape[3]})"):
                w.line(f"memset(row + j * {channels}, 0, {channels} * sizeof(float));")
                w.line("continue;")
            w.line(f"const float *const pixel = line + (ptrdiff_t)iw * {x.strides[3]};")
            with w.loop("c", channels):
                w.line(f"row[j * {channels} + c] = pixel[(ptrdiff_t)c * {x.strides[1]}];")

    def _gather_block(self, w: Writer) -> None:
        c = self.c
        channels = f"(ptrdiff_t)group * {c.in_channels * c.x.strides[1]}"
        w.line("float *row = matrix;")
        with w.block("for (int32_t line = top; line < bottom; ++line)"):
            w.unravel("line", (("n", c.batch), ("oh", c.y.shape[2])))
            image = f"x0 + (ptrdiff_t)n * {c.x.strides[0]} + {channels}"
            with w.block(f"for (int32_t ow = left; ow < right; ++ow, row += {c.steps})"):
                w.line(f"@NAME@_gather({image}, oh, ow, row);")

    def _multiply(self, w: Writer) -> None:
        c, width = self.c, self.tile.vectors * self.lanes
        position = [(0, "n"), (1, "channel"), (2, "oh"), (3, "ow")]

        def tiles(variant: int) -> None:
            def call(rows: int) -> str:
                y = f"y0 + {strided(c.y, position)}{c.epilogue.arguments(position)}"
                return f"@NAME@_{variant}_{rows}(row, wp, bp, {y});"

            rows = self.tile.rows
            w.line("int32_t ow = left;")
            if rows in self._heights():
                with w.block(f"for (; ow + {rows} <= right; ow += {rows}, row += {rows * c.steps})"):
                    w.line(call(rows))
            rest = self.width % rows
            if rest:
                with w.block("if (ow < right)"):
                    w.line(call(rest))
                    w.line(f"row += {rest * c.steps};")

        with w.loop("panel", self.panels.count):
            c.write_panel(w, self.panels)
            w.line(f"const int32_t channel = group * {c.out_channels} + panel * {width};")
            w.line("const float *row = matrix;")
            with w.block("for (int32_t line = top; line < bottom; ++line)"):
                w.unravel("line", (("n", c.batch), ("oh", c.y.shape[2])))
                self.panels.write_variants(w, "panel", tiles)

    def _tile(self, w: Writer, name: str, rows: int, vectors: int, tail: int | None) -> None:
        c = self.c
        parameters = f"const float *x, const float *w, const float *b, float *y{c.epilogue.parameters}"
        with w.block(f"static void {name}({parameters})"):
            declare(w, range(rows), vectors, self.lanes)
            segment = Segment(c.steps, "0", 1, tuple(range(rows)))
            accumulate(w, segment, lambda r: r * c.steps, vectors, self.target)
            c.epilogue.store(w, c.y, range(rows), vectors, tail, row_axis=3)
        w.line()


def _least(text: str, bound: int) -> str:
    return f"{text} < {bound} ? {text} : {bound}"
