"""Matrix product with constant, packed weights: pointwise convolution, Gemm and MatMul."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

import numpy as np

from edgesmith.c.writer import Writer
from edgesmith.ir import DType, Graph, Node, View
from edgesmith.kernels.base import SIGNATURE, Code, Kernel, Problem, Reject, Schedule, kernel, unpack
from edgesmith.kernels.epilogue import Epilogue, strided
from edgesmith.kernels.region import Region, epilogue_chains
from edgesmith.kernels.tile import (
    GIGAHERTZ,
    Panels,
    Segment,
    TileShape,
    accumulate,
    candidates,
    cycles_per_step,
    declare,
    input_cycles,
    pack,
    pack_bias,
)
from edgesmith.ops.conv import Conv
from edgesmith.ops.gemm import Gemm
from edgesmith.ops.matmul import MatMul

MEMORY_BYTES_PER_NS = 50.0
TARGET_TASKS = 32


def _pixels(view: View) -> View | None:
    """A convolution's view (N, C, H, W) as (pixels, channels)."""
    return _matrix(view.transpose((0, 2, 3, 1)))


def _matrix(view: View) -> View | None:
    """A view with its leading axes merged."""
    return view.reshape((view.size // max(view.shape[-1], 1), view.shape[-1])) if view.size else None


class Product:
    """The product Y (rows, channels) = X (rows, steps) W' + bias behind a problem.

    When ``reject`` says why there is none, nothing else is defined.
    """

    weights: np.ndarray
    """(channels, steps)."""
    bias: np.ndarray | None
    x: View
    y: View
    epilogue: Epilogue

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.reject: str | None = None
        node, graph = problem.anchor, problem.graph
        op = node.op
        if problem.target.isa is None:
            self.reject = "needs vectors, the target is portable C"
        elif not isinstance(op, Conv | Gemm | MatMul):
            self.reject = f"{op.name} is not a matrix product"
        elif any(v not in graph.constants for v in node.read[1:]) or node.inputs[0] in graph.constants:
            self.reject = "weights are computed at run time"
        elif problem.type(node.inputs[0]).dtype is not DType.F32:
            self.reject = f"{problem.type(node.inputs[0]).dtype}, computes f32"
        elif isinstance(op, Conv):
            self._conv(op, node)
        elif isinstance(op, Gemm):
            self._gemm(op, node)
        else:
            self._matmul(node)
        if self.reject is None:
            self._views(_pixels if isinstance(op, Conv) else _matrix)

    def _conv(self, op: Conv, node: Node) -> None:
        window = op.window
        if window.kernel != (1, 1):
            self.reject = f"{window} kernel, needs 1x1"
        elif window.strides != (1, 1) or any(window.pads_begin + window.pads_end):
            self.reject = f"{window}: strides or pads"
        elif op.group != 1:
            self.reject = f"{op.group} groups"
        else:
            weights = self._constant(node, 1)
            assert weights is not None
            self.weights, self.bias = weights.reshape(weights.shape[:2]), self._constant(node, 2)

    def _gemm(self, op: Gemm, node: Node) -> None:
        weights, bias = self._constant(node, 1), self._constant(node, 2)
        assert weights is not None
        channels = weights.shape[0 if op.transB else 1]
        if op.transA:
            self.reject = "the left operand is transposed"
        elif bias is not None and bias.size > 1 and bias.shape[-1:] != (bias.size,):
            self.reject = f"C of shape {bias.shape} differs from row to row"
        else:
            weights = weights if op.transB else weights.T
            self.weights = weights if op.alpha == 1 else np.float32(op.alpha) * weights
            flat = None if bias is None else np.float32(op.beta) * bias.reshape(-1)
            self.bias = None if flat is None else np.broadcast_to(flat, (channels,))

    def _matmul(self, node: Node) -> None:
        weights = self._constant(node, 1)
        assert weights is not None
        if weights.ndim != 2:
            self.reject = f"weights of shape {weights.shape}, needs a matrix"
        elif self.problem.type(node.inputs[0]).rank < 2:
            self.reject = "the left operand is a vector"
        else:
            self.weights, self.bias = weights.T, None

    def _constant(self, node: Node, index: int) -> np.ndarray | None:
        name = node.inputs[index] if index < len(node.inputs) else ""
        return self.problem.graph.constants[name] if name else None

    def _views(self, project: Callable[[View], View | None]) -> None:
        problem = self.problem
        x, y = project(problem.view(problem.anchor.inputs[0])), project(problem.view(problem.region.outputs[0]))
        if x is None or y is None:
            self.reject = "rows are not evenly spaced in memory"
            return
        if y.shape[1] > 1 and y.strides[1] != 1:
            self.reject = f"output channels have stride {y.strides[1]}, vectors need 1"
            return
        self.x, self.y = x, y
        self.epilogue = Epilogue(problem, 1, project)
        self.reject = self.epilogue.reject

    @property
    def rows(self) -> int:
        return self.y.shape[0]

    @property
    def channels(self) -> int:
        return self.y.shape[1]

    @property
    def steps(self) -> int:
        return self.x.shape[1]

    def nanoseconds(self, tile: TileShape) -> float:
        """Predicted time on one core: multiply-adds or the weights' way from memory, whichever binds."""
        target = self.problem.target
        panels = Panels(self.channels, target.lanes, tile.vectors)
        cycles = 0.0
        for vectors, tail in panels.variants():
            count = panels.full if tail is None and vectors == tile.vectors and panels.full else 1
            full, rest = divmod(self.rows, tile.rows)
            for rows, tiles in ((tile.rows, full), (rest, 1)):
                if rows and tiles:
                    fill = input_cycles(target, rows, self.x.strides[0], self.steps)
                    step = cycles_per_step(TileShape(rows, vectors), fill)
                    cycles += count * tiles * (step * self.steps + 10 + 2 * rows * vectors)
        panel_bytes = self.steps * tile.vectors * target.lanes * 4
        reloads = -(-self.rows // tile.rows) * panels.count
        cycles += max(0.0, panel_bytes - 0.75 * target.l1_bytes) / 64 * reloads * 0.8
        compute, memory = cycles / GIGAHERTZ, self.weights.nbytes / MEMORY_BYTES_PER_NS
        return max(compute, memory) + 0.2 * min(compute, memory)


@kernel
class PackedGemm(Kernel):
    """Rows of input times panels of packed weights, in register tiles."""

    name: ClassVar[str] = "gemm"

    def regions(self, graph: Graph, anchor: Node) -> Iterator[Region]:
        if isinstance(anchor.op, Conv | Gemm | MatMul):
            yield from epilogue_chains(graph, anchor)

    def accepts(self, problem: Problem) -> Reject | None:
        reason = Product(problem).reject
        return Reject(reason) if reason else None

    def schedules(self, problem: Problem) -> Sequence[Schedule]:
        product = Product(problem)
        vectors = -(-product.channels // problem.target.lanes)
        return [{"rows": t.rows, "vectors": t.vectors} for t in candidates(problem.target, product.rows, vectors)]

    def cost(self, problem: Problem, schedule: Schedule) -> float:
        return 60 + Product(problem).nanoseconds(TileShape(schedule["rows"], schedule["vectors"]))

    def in_place(self, problem: Problem) -> tuple[str, ...]:
        return Product(problem).epilogue.in_place(problem)

    def emit(self, problem: Problem, schedule: Schedule) -> Code:
        return ProductEmitter(Product(problem), TileShape(schedule["rows"], schedule["vectors"])).code()


class ProductEmitter:
    """Writes the tiles and the loops of one product.

    Args:
        tiles_per_task: row tiles of a task that does all panels (default: chosen by cache sizes).
    """

    def __init__(self, product: Product, tile: TileShape, tiles_per_task: int | None = None) -> None:
        self.p, self.tile = product, tile
        target = product.problem.target
        self.lanes = target.lanes
        self.panels = Panels(product.channels, target.lanes, tile.vectors)
        self.weights, self.bias = pack(product.weights, self.panels), pack_bias(product.bias, self.panels)
        self.epilogue = product.epilogue
        tiles = -(-product.rows // tile.rows)
        if tiles_per_task is not None:
            self.tiles_per_task, self.panels_per_task = tiles_per_task, self.panels.count
        elif product.weights.nbytes > target.l2_bytes // 2:
            # Each panel is read from memory once and stays in cache for all rows.
            self.tiles_per_task, self.panels_per_task = tiles, 1
        else:
            block_rows = max(1, target.l2_bytes // 4 // max(product.steps * 4 * tile.rows, 1))
            self.tiles_per_task = max(1, min(block_rows, -(-tiles // TARGET_TASKS)))
            self.panels_per_task = self.panels.count

    def code(self) -> Code:
        p = self.p
        constants = [("weights", self.weights), ("bias", self.bias), *self.epilogue.constants]
        rest = p.rows % self.tile.rows
        heights = [h for h in (self.tile.rows if p.rows >= self.tile.rows else 0, rest) if h]
        w = Writer()
        for v, (vectors, tail) in enumerate(self.panels.variants()):
            for rows in heights:
                self._tile(w, f"@NAME@_{v}_{rows}", rows, vectors, tail)
        with w.block(SIGNATURE):
            w.lines(unpack(p.problem, constants))
            w.line("(void)scratch;")
            tasks = self._driver(w, heights)
        op = p.problem.anchor.op.name.lower()
        label = f"{op}_gemm_f32{self.epilogue.label}_{self.tile.rows}x{self.tile.vectors}"
        return Code(w.text(), label, tuple(a for _, a in constants), tasks, functions=self.epilogue.functions)

    def _tile(self, w: Writer, name: str, rows: int, vectors: int, tail: int | None) -> None:
        p = self.p
        parameters = f"const float *x, const float *w, const float *b, float *y{self.epilogue.parameters}"
        with w.block(f"static void {name}({parameters})"):
            declare(w, range(rows), vectors, self.lanes)
            segment = Segment(p.steps, "0", p.x.strides[1] if p.steps > 1 else 1, tuple(range(rows)))
            accumulate(w, segment, lambda r: r * p.x.strides[0], vectors, self.lanes)
            self.epilogue.store(w, p.y, range(rows), vectors, tail, row_axis=0)
        w.line()

    def _driver(self, w: Writer, heights: Sequence[int]) -> int:
        p, panels, rows = self.p, self.panels, self.tile.rows
        tiles = -(-p.rows // rows)
        blocks = -(-tiles // self.tiles_per_task)
        groups = -(-panels.count // self.panels_per_task)
        block_rows = self.tiles_per_task * rows
        with w.block("for (int32_t task = begin; task < end; ++task)"):
            block = f"task % {blocks}" if groups > 1 else "task"
            w.line(f"const int32_t first = {block if blocks > 1 else '0'}{f' * {block_rows}' if blocks > 1 else ''};")
            w.line(f"const int32_t last = first + {block_rows} < {p.rows} ? first + {block_rows} : {p.rows};")
            if groups > 1:
                w.line(f"const int32_t panel = {f'task / {blocks}' if blocks > 1 else 'task'};")
                self._panel(w, heights)
            else:
                with w.loop("panel", panels.count):
                    self._panel(w, heights)
        return blocks * groups

    def _panel(self, w: Writer, heights: Sequence[int]) -> None:
        p, panels = self.p, self.panels
        width = panels.vectors * self.lanes
        w.line(f"const float *const wp = weights + (ptrdiff_t)panel * {p.steps * width};")
        w.line(f"const float *const bp = bias + panel * {width};")
        panels.write_variants(w, "panel", lambda variant: self._tiles(w, variant, heights))

    def _tiles(self, w: Writer, variant: int, heights: Sequence[int]) -> None:
        p, rows = self.p, self.tile.rows
        width = self.panels.vectors * self.lanes
        position = [(0, "row"), (1, f"panel * {width}")]

        def call(height: int) -> str:
            x = strided(p.x, position[:1])
            y = strided(p.y, position)
            return f"@NAME@_{variant}_{height}(x0 + {x}, wp, bp, y0 + {y}{self.epilogue.arguments(position)});"

        w.line("int32_t row = first;")
        if rows in heights:
            with w.block(f"for (; row + {rows} <= last; row += {rows})"):
                w.line(call(rows))
        rest = p.rows % rows
        if rest:
            with w.block("if (row < last)"):
                w.line(call(rest))
