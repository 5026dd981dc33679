"""Direct convolution: a register tile slides along the output row, the reduction runs over taps and input channels.

Rows of taps that fall into the padding above or below are left out by their loop bounds, columns of taps that fall
left or right by separate code for the tiles at the edges: no input is padded or copied.

Weights that do not fit a cache are cut along the input channels: each pass adds the products of one block of channels
to the sums of several output rows, which wait in the scratch memory between passes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from itertools import pairwise
from typing import ClassVar

import numpy as np

from edgesmith.c.writer import Writer
from edgesmith.ir import DType, Graph, Node
from edgesmith.kernels.base import SIGNATURE, Code, Kernel, Problem, Reject, Schedule, kernel, unpack
from edgesmith.kernels.conv.row import Columns, RowTiles, TileFunction, columns
from edgesmith.kernels.epilogue import Epilogue
from edgesmith.kernels.lane_loop import LaneLoop, LaneWindow
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
    pack,
    pack_bias,
)
from edgesmith.ops.conv import Conv
from edgesmith.target import Target

MAX_VARIANTS = 24
MAX_TAPS = 7
MAX_UNROLLED_CHANNELS = 4
LINE_FLOATS = 16
PREFETCH = 2
FLOAT_BYTES = 4
FAR_SHARE = 10 / 28
"""Of the bandwidth behind the second-level cache that weights have that are read again for every block."""
SEGMENT_CYCLES = 18.0
LATENCY_FACTOR = 1.12
"""What is lost where there are only as many sums as the latency of a multiply-add needs."""
SPILL_FACTOR = 1.06
"""What is lost to spilled sums where a tile leaves no register to schedule long straight-line code with."""
TILE_CYCLES = 15.0


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
    """One problem with one schedule.

    The schedule: ``rows`` x ``vectors`` is the register tile, ``channels`` the input channels of one pass, ``lines``
    the output rows of one task.
    """

    def __init__(self, problem: Problem, schedule: Schedule) -> None:
        node = problem.anchor
        assert isinstance(node.op, Conv)
        self.problem, self.op = problem, node.op
        self.tile = TileShape(schedule["rows"], schedule["vectors"])
        self.x = problem.view(node.inputs[0])
        self.y = problem.view(problem.region.outputs[0])
        self.window = node.op.window
        self.group = node.op.group
        self.in_channels = self.x.shape[1] // self.group
        self.out_channels = self.y.shape[1] // self.group
        self.channels = schedule["channels"]
        self.passes = self.in_channels // self.channels
        self.panels = Panels(self.out_channels, problem.target.lanes, self.tile.vectors)
        self.batch, self.height, self.width = self.y.shape[0], self.y.shape[2], self.y.shape[3]
        self.lines = schedule["lines"]
        self.taps = math.prod(self.window.kernel)
        self.steps = self.in_channels * self.taps

    @cached_property
    def columns(self) -> tuple[Columns, ...]:
        return columns(self.window, self.x.shape[3], self.width, self.tile.rows)

    @property
    def row_stride(self) -> int:
        """Input elements between neighbouring output columns."""
        return self.window.strides[1] * self.x.strides[3]

    @property
    def panel_lanes(self) -> int:
        return self.tile.vectors * self.problem.target.lanes

    @property
    def blocks(self) -> int:
        """Blocks of ``lines`` output rows."""
        return -(-self.batch * self.height // self.lines)

    @property
    def panels_outer(self) -> bool:
        """Whether all rows are done with one panel before the next, because not all weights stay in the cache."""
        return self.weights_bytes > self.problem.target.l2_bytes // 2

    @property
    def weights_bytes(self) -> int:
        return self.group * self.steps * self.out_channels * FLOAT_BYTES

    @property
    def is_unrolled(self) -> bool:
        """Whether the channels are written out one by one."""
        return self.channels <= MAX_UNROLLED_CHANNELS

    @property
    def tap_groups(self) -> list[range]:
        """The columns of the kernel in groups that one loop over the channels covers."""
        by_lane = LaneLoop.of(self.problem.target, self.tile.rows, [self.tile.vectors], self.channels)
        most = 1 if by_lane and self.x.strides[1] == 1 and not self.is_unrolled else MAX_TAPS
        count = -(-self.window.kernel[1] // most)
        bounds = [self.window.kernel[1] * i // count for i in range(count + 1)]
        return [range(first, end) for first, end in pairwise(bounds)]

    def taps_of(self, columns: Columns, group: range) -> Iterator[tuple[str, tuple[int, ...]]]:
        """For each tap of a group the C text of its offset in the input and the rows of the tile that take part."""
        for k in group:
            shift = k * self.window.dilations[1] * self.x.strides[3]
            yield f"at + {shift}" if shift else "at", columns.taps[k]

    def lane_window(self, columns: Columns, vectors: int, group: range) -> LaneWindow | None:
        """The products of a group of taps with a line of a channel whose columns lie side by side."""
        if self.x.strides[3] != 1:
            return None
        stride, dilation = self.window.strides[1], self.window.dilations[1]
        taps = [[(r, r * stride + k * dilation) for r in columns.taps[k]] for k in group]
        return LaneWindow.of(self.problem.target, taps, vectors)

    @property
    def ahead(self) -> int:
        """Floats of the next weights that each output pixel fetches."""
        return -(
            -self.taps * self.channels * self.panel_lanes // (min(self.lines, self.batch * self.height) * self.width)
        )

    @property
    def sums_bytes(self) -> int:
        """Scratch memory for the sums of a task between passes."""
        return self.lines * self.width * self.panel_lanes * FLOAT_BYTES if self.passes > 1 else 0

    def nanoseconds(self) -> float:
        """Predicted time on one core: multiply-adds or the weights' way from memory, whichever binds."""
        target = self.problem.target
        compute, memory = self._cycles() / target.gigahertz, self.weights_bytes / target.core.memory_bytes_per_ns
        return max(compute, memory) + 0.2 * min(compute, memory)

    def _cycles(self) -> float:
        total = 0.0
        counts = [n for n in (self.panels.full, 1 if self.panels.tail_vectors else 0) if n]
        for panels, (vectors, _) in zip(counts, self.panels.variants(), strict=True):
            total += panels * sum(cols.tiles * self._tile_cycles(cols, vectors) for cols in self.columns)
        total *= self.group * self.batch * self.height
        # What every block of rows reads again from beyond the second-level cache.
        target = self.problem.target
        x_bytes = self.x.size * FLOAT_BYTES
        again = self.weights_bytes * (self.blocks - 1) if self.weights_bytes > target.l2_bytes // 2 else 0
        again += x_bytes * self.panels.count if self.panels_outer and x_bytes > target.l2_bytes // 2 else 0
        return total + again / (FAR_SHARE * target.core.far_bytes_per_cycle)

    def _tile_cycles(self, cols: Columns, vectors: int) -> float:
        """Cycles of one tile: steps at the pace of multiply-adds or of the weights' way from the cache."""
        target, core = self.problem.target, self.problem.target.core
        step_bytes = vectors * target.lanes * FLOAT_BYTES
        slice_bytes = step_bytes * self.taps * self.channels
        if slice_bytes <= 0.75 * target.l1_bytes:
            fetch = 0.0
        else:
            far = FAR_SHARE * core.far_bytes_per_cycle
            fetch = step_bytes / (core.l2_bytes_per_cycle if slice_bytes <= 0.75 * target.l2_bytes else far)
        fill = input_cycles(target, cols.rows, self.row_stride, self.channels)
        cycles = SEGMENT_CYCLES * len(self.tap_groups) / (self.channels if self.is_unrolled else 1)
        for rows in filter(None, cols.taps):
            step = cycles_per_step(target, TileShape(len(rows), vectors), fill)
            if len(rows) * vectors <= core.fma_latency * core.fma_per_cycle:
                step *= LATENCY_FACTOR
            if self.is_unrolled and TileShape(len(rows), vectors).registers == target.registers - 1:
                step *= SPILL_FACTOR
            cycles += self.channels * (max(step, fetch) + 0.1 * min(step, fetch))
        ends = TILE_CYCLES + cols.rows * vectors
        return self.passes * (cycles * self.window.kernel[0] * self._inside_rows() + ends)

    def _inside_rows(self) -> float:
        """Share of the kernel rows that lie inside the input."""
        s, d, p, k = (
            v[0] for v in (self.window.strides, self.window.dilations, self.window.pads_begin, self.window.kernel)
        )
        inside = sum(0 <= o * s + t * d - p < self.x.shape[2] for o in range(self.height) for t in range(k))
        return inside / max(self.height * k, 1)


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
        batch, filters, height, width = problem.type(problem.anchor.outputs[0]).shape
        vectors = -(-filters // op.group // problem.target.lanes)
        in_channels = problem.type(problem.anchor.inputs[0]).shape[1] // op.group
        taps = math.prod(op.window.kernel)
        found: list[Schedule] = []
        for tile in register_tiles(problem.target, width, vectors):
            step_bytes = taps * tile.vectors * problem.target.lanes * FLOAT_BYTES
            sizes = {in_channels, *(_divisor(in_channels, share // step_bytes) for share in _shares(problem.target))}
            for channels in sorted(sizes, reverse=True):
                panels = op.group * -(-vectors // tile.vectors)
                lines = _lines(problem, tile, panels, batch * height, width, channels < in_channels)
                schedule = {"rows": tile.rows, "vectors": tile.vectors, "channels": channels, "lines": lines}
                geometry = _Geometry(problem, schedule)
                if len(geometry.columns) * len(geometry.panels.variants()) <= MAX_VARIANTS:
                    found.append(schedule)
        return found

    def cost(self, problem: Problem, schedule: Schedule) -> float:
        return 100 + _Geometry(problem, schedule).nanoseconds()

    def in_place(self, problem: Problem) -> tuple[str, ...]:
        return Epilogue(problem).in_place(problem)

    def emit(self, problem: Problem, schedule: Schedule) -> Code:
        return _Emitter(_Geometry(problem, schedule)).code()


def _rate(target: Target, tile: TileShape) -> float:
    """Multiply-adds a cycle."""
    return tile.rows * tile.vectors / cycles_per_step(target, tile)


def register_tiles(target: Target, width: int, vectors: int) -> list[TileShape]:
    """Register tiles that are worth considering for ``width`` output pixels and ``vectors`` of filters."""
    found = [
        t for t in candidates(target, width, vectors) if t.rows == -(-width // -(-width // t.rows))
    ]  # The others are the same tiles as with fewer rows.
    # Where each input or each weight is used once, loads bind and compilers run out of registers.
    reused = [t for t in found if min(t.rows, t.vectors) > 1] or found
    area, rate = max(t.rows * t.vectors for t in reused), max(_rate(target, t) for t in reused)
    return [t for t in reused if 2 * t.rows * t.vectors >= area and _rate(target, t) >= 0.75 * rate]


def _shares(target: Target) -> tuple[int, ...]:
    """Bytes of weights that a pass may take up: most of the first-level cache, or a part of the second."""
    return target.l1_bytes * 3 // 4, target.l2_bytes // 4


def _divisor(n: int, most: int) -> int:
    """The largest divisor of n up to ``most``, at least 1."""
    return next(d for d in range(max(1, min(n, most)), 0, -1) if n % d == 0)


def _lines(problem: Problem, tile: TileShape, panels: int, rows: int, width: int, in_passes: bool) -> int:
    """Output rows of a task: enough tasks for every core, and what panels or passes share stays in the cache."""
    target = problem.target
    most = -(-rows // -(-max(8, 4 * target.cores) // panels))
    if in_passes:
        row_bytes = width * tile.vectors * target.lanes * FLOAT_BYTES
        most = min(most, max(1, target.l2_bytes // 8 // row_bytes))
    elif panels > 1:
        x_bytes, y_bytes = (problem.type(v).nbytes for v in (problem.anchor.inputs[0], problem.anchor.outputs[0]))
        most = min(most, max(1, target.l2_bytes // 2 * rows // (x_bytes + y_bytes)))
    return -(-rows // -(-rows // most))


class _Emitter:
    def __init__(self, geometry: _Geometry) -> None:
        self.g = geometry
        self.epilogue = Epilogue(geometry.problem)
        self.lanes = geometry.problem.target.lanes
        parameters = ", float *s, int32_t pass" if geometry.passes > 1 else ""
        parameters += ", const float *ahead" if geometry.panels_outer else ""
        self.tiles = RowTiles(
            geometry.window,
            geometry.x,
            geometry.y,
            geometry.columns,
            geometry.panels,
            self.epilogue,
            parameters,
            self._arguments,
        )
        node, graph = geometry.problem.anchor, geometry.problem.graph
        weights = graph.constants[node.inputs[1]]
        bias = graph.constants[node.inputs[2]] if len(node.inputs) > 2 and node.inputs[2] else None
        # (filters, pass, kh, kw / group of taps, channels of the pass, taps of the group): the order of the reduction.
        filters, (kh, kw) = geometry.group * geometry.out_channels, geometry.window.kernel
        cut = weights.reshape(filters, geometry.passes, geometry.channels, kh, kw).transpose(0, 1, 3, 2, 4)
        parts = [cut[..., group].reshape(filters, geometry.passes, kh, -1) for group in geometry.tap_groups]
        ordered = np.concatenate(parts, axis=-1).reshape(filters, -1)
        per_group = np.split(ordered, geometry.group)
        biases = np.split(bias, geometry.group) if bias is not None else [None] * geometry.group
        self.weights = np.concatenate([pack(part, geometry.panels) for part in per_group])
        self.bias = np.concatenate([pack_bias(part, geometry.panels) for part in biases])

    def code(self) -> Code:
        g = self.g
        constants = [("weights", self.weights), ("bias", self.bias), *self.epilogue.constants]
        w = Writer()
        for function in self.tiles.functions():
            self._tile(w, function)
        with w.block(SIGNATURE):
            w.lines(unpack(g.problem, constants))
            w.line("(void)scratch;" if g.passes == 1 else "float *const sums = (float *)scratch;")
            self._driver(w)
        kind = "x".join(map(str, g.window.kernel))
        label = f"conv{kind}_direct_f32{self.epilogue.label}_{g.tile.rows}x{g.tile.vectors}"
        return Code(
            w.text(),
            label,
            tuple(a for _, a in constants),
            tasks=g.group * g.panels.count * g.blocks,
            scratch_bytes=g.sums_bytes,
            functions=self.epilogue.functions,
        )

    def _tile(self, w: Writer, function: TileFunction) -> None:
        g, lanes, vectors = self.g, self.lanes, function.vectors
        rows = range(function.columns.rows)
        with w.block(function.head):
            if g.passes == 1:
                declare(w, rows, vectors, lanes)
            else:
                self._resume(w, rows, vectors)
            if any(function.columns.taps):
                row_steps = g.window.kernel[1] * g.channels * vectors * lanes
                down = g.window.dilations[0] * g.x.strides[2]
                w.line(f"w += (ptrdiff_t)first * {row_steps};")
                w.line(f"at += (ptrdiff_t)first * {down};")
                with w.block("for (int32_t t = first; t < last; ++t)"):
                    if g.panels_outer:
                        self._fetch_ahead(w, len(rows))
                    for group in g.tap_groups:
                        self._channels(w, function, group)
                    w.line(f"at += {down};")
            else:
                w.line("(void)x, (void)at, (void)first, (void)last, (void)w;")
            if g.passes > 1:
                self._suspend(w, rows, vectors)
            self.epilogue.store(w, g.y, rows, vectors, function.tail, row_axis=3)
        w.line()

    def _channels(self, w: Writer, function: TileFunction, group: range) -> None:
        """Write the loop over the input channels for a group of taps."""
        g, vectors, lanes = self.g, function.vectors, self.lanes
        stride = g.x.strides[1]

        def products(count: int, offset: str, rows: tuple[int, ...]) -> None:
            if rows:
                segment = Segment(count, offset, stride, rows)
                accumulate(w, segment, lambda r: r * g.row_stride, vectors, g.problem.target)
            else:
                w.line(f"w += {count * vectors * lanes};")

        taps = list(g.taps_of(function.columns, group))
        if len(taps) == 1:
            products(g.channels, *taps[0])
            return

        def channel(shift: str) -> None:
            for offset, rows in taps:
                # Neighbouring taps share input elements; kept in registers, these would displace the sums.
                w.line("ES_IN_ORDER;")
                products(1, offset + shift, rows)

        if g.is_unrolled:
            for c in range(g.channels):
                shift = f" + {c * stride}" if c else ""
                window = g.lane_window(function.columns, vectors, group)
                if window:
                    window.write(w, f"x + at{shift}", lambda r, v: f"c{r}_{v}", partial(channel, shift))
                else:
                    channel(shift)
            return
        with w.block(f"for (ptrdiff_t c = 0; c < {g.channels}; ++c)"):
            channel(" + c" if stride == 1 else f" + c * {stride}")

    def _resume(self, w: Writer, rows: range, vectors: int) -> None:
        """Write the accumulators: the bias in the first pass, then what the pass before left in ``s``."""
        w.line("const float *const from = pass ? s : b;")
        w.line(f"const ptrdiff_t apart = pass ? {self.g.panel_lanes} : 0;")
        for r in rows:
            loads = (f"es_load(from + {r} * apart + {v * self.lanes})" for v in range(vectors))
            w.line("es_v " + ", ".join(f"c{r}_{v} = {load}" for v, load in enumerate(loads)) + ";")

    def _suspend(self, w: Writer, rows: range, vectors: int) -> None:
        """Write how all passes but the last leave their sums in ``s``."""
        with w.block(f"if (pass < {self.g.passes - 1})"):
            for r in rows:
                for v in range(vectors):
                    w.line(f"es_store(s + {r * self.g.panel_lanes + v * self.lanes}, c{r}_{v});")
            w.line("return;")

    def _fetch_ahead(self, w: Writer, rows: int) -> None:
        """Write what one kernel row of a tile fetches of the weights that come next."""
        lines = -(-rows * self.g.ahead // (self.g.window.kernel[0] * LINE_FLOATS))
        with w.block(f"for (int32_t i = 0; i < {lines}; ++i)"):
            w.line(f"__builtin_prefetch(ahead + (t * {lines} + i) * {LINE_FLOATS}, 0, {PREFETCH});")

    def _arguments(self, ow: str) -> str:
        pixel = f"((row - start) * {self.g.width} + {ow})"
        sums = f", sums + {pixel} * {self.g.panel_lanes}, pass" if self.g.passes > 1 else ""
        return sums + (f", next + {pixel} * {self.g.ahead}" if self.g.panels_outer else "")

    def _driver(self, w: Writer) -> None:
        """Write the loops over tasks, passes, rows and tiles."""
        g = self.g
        rows, panels = g.batch * g.height, g.group * g.panels.count
        with w.block("for (int32_t task = begin; task < end; ++task)"):
            order = (("panel", panels), ("block", g.blocks))
            w.unravel("task", order if g.panels_outer else order[::-1])
            w.line(f"const int32_t start = block * {g.lines};")
            w.line(f"const int32_t stop = start + {g.lines} < {rows} ? start + {g.lines} : {rows};")
            group, part = ("0", "panel")
            if g.group > 1:
                group, part = f"panel / {g.panels.count}", f"panel % {g.panels.count}"
            group_weights, group_bias = self.weights.size // g.group, self.bias.size // g.group
            w.line(f"const int32_t group = {group}, part = {part};")
            w.line(f"const float *const bp = bias + group * {group_bias} + part * {g.panel_lanes};")
            if g.y.shape[1] > 1:
                w.line(f"const int32_t channel = group * {g.out_channels} + part * {g.panel_lanes};")
            packed = f"(ptrdiff_t)group * {group_weights} + (ptrdiff_t)part * {g.steps * g.panel_lanes}"
            with w.loop("pass", g.passes):
                w.line(f"const float *const wp = weights + {packed}{self._pass_weights()};")
                if g.panels_outer:
                    step, end = g.taps * g.channels * g.panel_lanes, self.weights.size
                    w.line(f"const float *const next = wp + {step} < weights + {end} ? wp + {step} : weights;")
                with w.block("for (int32_t row = start; row < stop; ++row)"):
                    w.line(f"const int32_t n = row / {g.height}, oh = row % {g.height};")
                    channel = f"(ptrdiff_t)group * {g.x.strides[1] * g.in_channels}"
                    if g.passes > 1:
                        channel += f" + (ptrdiff_t)pass * {g.x.strides[1] * g.channels}"
                    self.tiles.write(w, "part", channel)

    def _pass_weights(self) -> str:
        """C text of the offset of a pass in its panel's weights."""
        g = self.g
        if g.passes == 1:
            return ""
        sizes = [vectors * self.lanes * g.taps * g.channels for vectors, _ in g.panels.variants()]
        size = str(sizes[0]) if len(sizes) == 1 else f"(part < {g.panels.full} ? {sizes[0]} : {sizes[1]})"
        return f" + (ptrdiff_t)pass * {size}"
