"""Direct convolution: a register tile slides along the output row, the reduction runs over taps and input channels.

Rows of taps that fall into the padding above or below are left out by their loop bounds, columns of taps that fall
left or right by separate code for the tiles at the edges: no input is padded or copied.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import ClassVar

import numpy as np

from edgesmith.c.writer import Writer
from edgesmith.ir import DType, Graph, Node
from edgesmith.kernels.base import SIGNATURE, Code, Kernel, Problem, Reject, Schedule, kernel, unpack
from edgesmith.kernels.conv.row import Columns, RowTiles, TileFunction, columns
from edgesmith.kernels.epilogue import Epilogue
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

MAX_VARIANTS = 24
MEMORY_BYTES_PER_NS = 50.0


def conv2d_reject(problem: Problem) -> Reject | None:
    """Why a region is not a 2-D f32 convolution with constant weights and channels innermost in the output."""
    node = problem.anchor
    if not isinstance(node.op, Conv):
        return Reject(f"{node.op.name} is not a convolution")
    if problem.target.isa is None:
        return Reject("needs vectors, the target is portable C")
    x = problem.type(node.inputs[0])
    if x.rank != 4:
        return Reject(f"{x.rank - 2}-D convolution, needs 2-D")
    if x.dtype is not DType.F32:
        return Reject(f"{x.dtype}, computes f32")
    if any(v not in problem.graph.constants for v in node.read[1:]):
        return Reject("weights are computed at run time")
    if node.inputs[0] in problem.graph.constants:
        return Reject("the input is a constant")
    y = problem.view(problem.region.outputs[0])
    if not y.size:
        return Reject("the output is empty")
    if y.strides[1] != 1 and y.shape[1] != 1:
        return Reject(f"output channels have stride {y.strides[1]}, vectors need 1")
    return None


class _Geometry:
    """One problem with one tile."""

    def __init__(self, problem: Problem, tile: TileShape) -> None:
        node = problem.anchor
        assert isinstance(node.op, Conv)
        self.problem, self.tile, self.op = problem, tile, node.op
        self.x = problem.view(node.inputs[0])
        self.y = problem.view(problem.region.outputs[0])
        self.window = node.op.window
        self.group = node.op.group
        self.in_channels = self.x.shape[1] // self.group
        self.out_channels = self.y.shape[1] // self.group
        self.panels = Panels(self.out_channels, problem.target.lanes, tile.vectors)
        self.batch, self.height, self.width = self.y.shape[0], self.y.shape[2], self.y.shape[3]
        self.steps = self.in_channels * math.prod(self.window.kernel)

    @cached_property
    def columns(self) -> list[Columns]:
        return columns(self.window, self.x.shape[3], self.width, self.tile.rows)

    @property
    def row_stride(self) -> int:
        """Input elements between neighbouring output columns."""
        return self.window.strides[1] * self.x.strides[3]

    @property
    def merged(self) -> bool:
        """Taps of one kernel row and their channels follow one another in memory."""
        return (
            self.x.strides[1] == 1
            and self.window.dilations[1] == 1
            and (self.x.strides[3] == self.in_channels or self.window.kernel[1] == 1)
            and self.group == 1
        )

    def segments(self, columns: Columns) -> list[Segment]:
        """The reduction of one kernel row for a tile of ``columns``."""
        every = tuple(range(columns.rows))
        if columns.inside and self.merged:
            return [Segment(self.window.kernel[1] * self.in_channels, "at", 1, every)]
        result = []
        for k, rows in enumerate(columns.taps):
            shift = k * self.window.dilations[1] * self.x.strides[3]
            offset = f"at + {shift}" if shift else "at"
            result.append(Segment(self.in_channels, offset, self.x.strides[1], rows))
        return result

    def cycles(self) -> float:
        total = 0.0
        for vectors, _ in self.panels.variants():
            count = self.panels.full if (vectors, None) == (self.tile.vectors, None) and self.panels.full else 1
            for cols in self.columns:
                useful = sum(map(len, cols.taps)) / (cols.rows * len(cols.taps))
                fill = input_cycles(self.problem.target, cols.rows, self.row_stride, self.in_channels)
                step = cycles_per_step(TileShape(cols.rows, vectors), fill)
                edge = 1.0 if cols.inside else 1.1
                total += count * cols.tiles * (step * self.steps * useful * edge + 10 + 2 * cols.rows * vectors)
        rows = self.group * self.batch * self.height
        vertical = self._inside_rows()
        panel_bytes = self.steps * self.tile.vectors * self.problem.target.lanes * 4
        reloads = rows * self.panels.count * len(self.columns)
        beyond_l1 = max(0.0, panel_bytes - 0.75 * self.problem.target.l1_bytes) / 64 * reloads
        return total * rows * vertical + beyond_l1 * 0.8

    def _inside_rows(self) -> float:
        """Share of the kernel rows that lie inside the input."""
        s, d, p, k = (
            v[0] for v in (self.window.strides, self.window.dilations, self.window.pads_begin, self.window.kernel)
        )
        inside = sum(0 <= o * s + t * d - p < self.x.shape[2] for o in range(self.height) for t in range(k))
        return inside / max(self.height * k, 1)

    @property
    def weights_bytes(self) -> int:
        return self.group * self.steps * self.out_channels * 4


@kernel
class DirectConv(Kernel):
    """Any 2-D convolution: input in any layout, output with channels innermost."""

    name: ClassVar[str] = "direct"

    def regions(self, graph: Graph, anchor: Node) -> Iterator[Region]:
        if isinstance(anchor.op, Conv):
            yield from epilogue_chains(graph, anchor)

    def accepts(self, problem: Problem) -> Reject | None:
        reject = conv2d_reject(problem)
        if reject is not None:
            return reject
        op = problem.anchor.op
        assert isinstance(op, Conv)
        filters = problem.type(problem.anchor.outputs[0]).shape[1] // op.group
        if op.group > 1 and filters == 1:
            return Reject("one filter a group; the depthwise kernel is made for that")
        epilogue = Epilogue(problem)
        return Reject(epilogue.reject) if epilogue.reject else None

    def schedules(self, problem: Problem) -> Sequence[Schedule]:
        op = problem.anchor.op
        assert isinstance(op, Conv)
        _, channels, _, width = problem.type(problem.anchor.outputs[0]).shape
        vectors = -(-channels // op.group // problem.target.lanes)
        tiles = candidates(problem.target, width, vectors)
        return [
            {"rows": t.rows, "vectors": t.vectors}
            for t in tiles
            if len(_Geometry(problem, t).columns) * len(_Geometry(problem, t).panels.variants()) <= MAX_VARIANTS
        ]

    def cost(self, problem: Problem, schedule: Schedule) -> float:
        geometry = _Geometry(problem, TileShape(schedule["rows"], schedule["vectors"]))
        compute, memory = geometry.cycles() / GIGAHERTZ, geometry.weights_bytes / MEMORY_BYTES_PER_NS
        return 100 + max(compute, memory) + 0.2 * min(compute, memory)

    def in_place(self, problem: Problem) -> tuple[str, ...]:
        return Epilogue(problem).in_place(problem)

    def emit(self, problem: Problem, schedule: Schedule) -> Code:
        return _Emitter(_Geometry(problem, TileShape(schedule["rows"], schedule["vectors"]))).code()


class _Emitter:
    def __init__(self, geometry: _Geometry) -> None:
        self.g = geometry
        self.epilogue = Epilogue(geometry.problem)
        self.tiles = RowTiles(geometry.window, geometry.x, geometry.y, geometry.columns, geometry.panels, self.epilogue)
        self.lanes = geometry.problem.target.lanes
        node, graph = geometry.problem.anchor, geometry.problem.graph
        weights = graph.constants[node.inputs[1]]
        bias = graph.constants[node.inputs[2]] if len(node.inputs) > 2 and node.inputs[2] else None
        # (filters, kh, kw, channels): the order in which the reduction runs.
        ordered = weights.transpose(0, 2, 3, 1).reshape(weights.shape[0], -1)
        per_group = np.split(ordered, geometry.group)
        biases = np.split(bias, geometry.group) if bias is not None else [None] * geometry.group
        self.weights = np.concatenate([pack(part, geometry.panels) for part in per_group])
        self.bias = np.concatenate([pack_bias(part, geometry.panels) for part in biases])
        # Weights that fit the second-level cache stay there while rows stream past; otherwise each panel is read once.
        self.panels_outer = geometry.weights_bytes > geometry.problem.target.l2_bytes // 2
        self.rows_per_task = max(1, -(-geometry.height * geometry.batch // 64)) if not self.panels_outer else None

    def code(self) -> Code:
        g = self.g
        constants = [("weights", self.weights), ("bias", self.bias), *self.epilogue.constants]
        w = Writer()
        for function in self.tiles.functions():
            self._tile(w, function)
        with w.block(SIGNATURE):
            w.lines(unpack(g.problem, constants))
            w.line("(void)scratch;")
            tasks = self._driver(w)
        op = g.op
        kind = "x".join(map(str, op.window.kernel))
        label = f"conv{kind}_direct_f32{self.epilogue.label}_{g.tile.rows}x{g.tile.vectors}"
        return Code(w.text(), label, tuple(a for _, a in constants), tasks, functions=self.epilogue.functions)

    def _tile(self, w: Writer, function: TileFunction) -> None:
        g, lanes, vectors = self.g, self.lanes, function.vectors
        rows = range(function.columns.rows)
        with w.block(function.head):
            declare(w, rows, vectors, lanes)
            if any(function.columns.taps):
                row_steps = g.window.kernel[1] * g.in_channels * vectors * lanes
                down = g.window.dilations[0] * g.x.strides[2]
                w.line(f"w += (ptrdiff_t)first * {row_steps};")
                w.line(f"at += (ptrdiff_t)first * {down};")
                with w.block("for (int32_t t = first; t < last; ++t)"):
                    for segment in g.segments(function.columns):
                        if segment.rows:
                            accumulate(w, segment, lambda r: r * g.row_stride, vectors, lanes)
                        else:
                            w.line(f"w += {segment.count * vectors * lanes};")
                    w.line(f"at += {down};")
            else:
                w.line("(void)x, (void)at, (void)first, (void)last, (void)w;")
            self.epilogue.store(w, g.y, rows, vectors, function.tail, row_axis=3)
        w.line()

    def _driver(self, w: Writer) -> int:
        """Write the loops over tasks, panels, rows and tiles; return the number of tasks."""
        g = self.g
        rows = g.batch * g.height
        if self.panels_outer:
            with w.block("for (int32_t task = begin; task < end; ++task)"):
                w.line(f"const int32_t panel = task / {rows}, row = task % {rows};")
                self._row(w, "panel", "row")
            return g.group * g.panels.count * rows
        assert self.rows_per_task is not None
        with w.block("for (int32_t task = begin; task < end; ++task)"):
            n = self.rows_per_task
            w.line(f"const int32_t stop = (task + 1) * {n} < {rows} ? (task + 1) * {n} : {rows};")
            with (
                w.loop("panel", g.group * g.panels.count),
                w.block(f"for (int32_t row = task * {n}; row < stop; ++row)"),
            ):
                self._row(w, "panel", "row")
        return -(-rows // n)

    def _row(self, w: Writer, panel: str, row: str) -> None:
        """Write the tiles of one output row for one panel."""
        g = self.g
        w.line(f"const int32_t n = {row} / {g.height}, oh = {row} % {g.height};")
        group, part = ("0", panel) if g.group == 1 else (f"{panel} / {g.panels.count}", f"{panel} % {g.panels.count}")
        width = g.tile.vectors * self.lanes
        group_weights, group_bias = self.weights.size // g.group, self.bias.size // g.group
        w.line(f"const int32_t group = {group}, part = {part};")
        packed = f"(ptrdiff_t)group * {group_weights} + (ptrdiff_t)part * {g.steps * width}"
        w.line(f"const float *const wp = weights + {packed};")
        w.line(f"const float *const bp = bias + group * {group_bias} + part * {width};")
        if g.y.shape[1] > 1:
            w.line(f"const int32_t channel = group * {g.out_channels} + part * {width};")
        self.tiles.write(w, "part", f"(ptrdiff_t)group * {g.x.strides[1] * g.in_channels}")
