"""Depthwise convolution: one filter a channel, vectors along the channels.

A tile of output columns keeps its sums in registers; each input vector of a row is loaded once and feeds every output
column that it reaches. All rows of a block of channels are done before the next block, so that the rows that
neighbouring output rows share are still in the first-level cache. ``depthwise-tile`` is faster where the window has few
taps; this kernel takes any.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np

from edgesmith.c.writer import Writer
from edgesmith.ir import Graph, Node
from edgesmith.kernels.base import SIGNATURE, Code, Kernel, Problem, Reject, Schedule, kernel, unpack
from edgesmith.kernels.conv.row import Columns, RowTiles, TileFunction, columns
from edgesmith.kernels.conv.window_tile import grouped_reject
from edgesmith.kernels.epilogue import Epilogue
from edgesmith.kernels.region import Region, epilogue_chains
from edgesmith.kernels.tile import Panels, declare, pack_bias
from edgesmith.ops.conv import Conv

MAX_VARIANTS = 16
TARGET_TASKS = 16
SHARED_SHARE = 0.5
"""Of the bandwidth of weights that comes of reading and writing at once."""


@kernel
class Depthwise(Kernel):
    """Channels innermost in input and output, one filter a channel, any window."""

    name: ClassVar[str] = "depthwise"

    def regions(self, graph: Graph, anchor: Node) -> Iterator[Region]:
        if isinstance(anchor.op, Conv) and anchor.op.group > 1:
            yield from epilogue_chains(graph, anchor)

    def accepts(self, problem: Problem) -> Reject | None:
        op = problem.anchor.op
        if isinstance(op, Conv) and op.group != problem.type(problem.anchor.inputs[0]).shape[1]:
            return Reject(f"{op.group} groups, needs one a channel")
        return grouped_reject(problem)

    def schedules(self, problem: Problem) -> Sequence[Schedule]:
        op = problem.anchor.op
        assert isinstance(op, Conv)
        _, channels, _, width = problem.type(problem.anchor.outputs[0]).shape
        extent = problem.type(problem.anchor.inputs[0]).shape[3]
        found: list[Schedule] = []
        for vectors in (1, 2):
            if vectors > 1 and channels <= problem.target.lanes:
                break
            most = (problem.target.registers - 1) // vectors - op.window.kernel[1] - 1
            found += [
                {"columns": rows, "vectors": vectors}
                for rows in range(1, max(1, min(most, width, 16)) + 1)
                if rows == -(-width // -(-width // rows))
                and len(columns(op.window, extent, width, rows)) <= MAX_VARIANTS
            ]
        return found

    def cost(self, problem: Problem, schedule: Schedule) -> float:
        op = problem.anchor.op
        assert isinstance(op, Conv)
        batch, channels, height, width = problem.type(problem.anchor.outputs[0]).shape
        extent = problem.type(problem.anchor.inputs[0]).shape[3]
        rows, vectors = schedule["columns"], schedule["vectors"]
        kh, kw = op.window.kernel
        core, cycles = problem.target.core, 0.0
        for c in columns(op.window, extent, width, rows):
            products = sum(map(len, c.taps)) * vectors
            loads = ((c.rows - 1) * op.window.strides[1] + kw + kw) * vectors
            per_tap_row = max(products / core.fma_per_cycle, loads / core.loads_per_cycle, core.fma_latency) + 4
            cycles += c.tiles * (kh * per_tap_row + c.rows * vectors * (1 + len(problem.region.nodes)) / 2 + 10)
        blocks = -(-channels // (vectors * problem.target.lanes))
        compute = cycles * blocks * height * batch / problem.target.gigahertz
        memory = problem.bytes_moved / (SHARED_SHARE * core.shared_bytes_per_ns)
        return 100 + max(compute, memory) + 0.2 * min(compute, memory)

    def in_place(self, problem: Problem) -> tuple[str, ...]:
        return Epilogue(problem).in_place(problem)

    def emit(self, problem: Problem, schedule: Schedule) -> Code:
        return _Emitter(problem, schedule["columns"], schedule["vectors"]).code()


class _Emitter:
    def __init__(self, problem: Problem, rows: int, vectors: int) -> None:
        node, graph = problem.anchor, problem.graph
        assert isinstance(node.op, Conv)
        self.problem, self.rows = problem, rows
        self.window = node.op.window
        self.lanes = problem.target.lanes
        self.x, self.y = problem.view(node.inputs[0]), problem.view(problem.region.outputs[0])
        self.channels = self.y.shape[1]
        self.panels = Panels(self.channels, self.lanes, vectors)
        self.epilogue = Epilogue(problem)
        cols = columns(self.window, self.x.shape[3], self.y.shape[3], rows)
        self.tiles = RowTiles(self.window, self.x, self.y, cols, self.panels, self.epilogue)
        self.block = vectors * self.lanes
        self.taps = self.window.kernel[0] * self.window.kernel[1]
        weights = graph.constants[node.inputs[1]].reshape(self.channels, self.taps)
        padded = np.zeros((self.panels.count * self.block, self.taps), np.float32)
        padded[: self.channels] = weights
        # (block, tap, channel of the block)
        self.weights = np.ascontiguousarray(padded.reshape(-1, self.block, self.taps).transpose(0, 2, 1))
        bias = graph.constants[node.inputs[2]] if len(node.inputs) > 2 and node.inputs[2] else None
        self.bias = pack_bias(bias, self.panels)

    def code(self) -> Code:
        constants = [("weights", self.weights), ("bias", self.bias), *self.epilogue.constants]
        w = Writer()
        for function in self.tiles.functions():
            self._tile(w, function)
        batch, height, blocks = self.y.shape[0], self.y.shape[2], self.panels.count
        parts = min(height, -(-TARGET_TASKS // (batch * blocks)))
        rows = -(-height // parts)
        parts = -(-height // rows)
        with w.block(SIGNATURE):
            w.lines(unpack(self.problem, constants))
            w.line("(void)scratch;")
            with w.block("for (int32_t task = begin; task < end; ++task)"):
                w.line(f"const int32_t n = task / {blocks * parts};")
                w.line(f"const int32_t block = task / {parts} % {blocks}, part = task % {parts};")
                w.line(f"const int32_t channel = block * {self.block};")
                w.line(f"const float *const wp = weights + (ptrdiff_t)block * {self.taps * self.block};")
                w.line("const float *const bp = bias + channel;")
                w.line(f"const int32_t stop = (part + 1) * {rows} < {height} ? (part + 1) * {rows} : {height};")
                with w.block(f"for (int32_t oh = part * {rows}; oh < stop; ++oh)"):
                    self.tiles.write(w, "block", "channel")
        kind = "x".join(map(str, self.window.kernel))
        label = f"conv{kind}_depthwise_f32{self.epilogue.label}_{self.rows}x{self.panels.vectors}"
        tasks = batch * blocks * parts
        return Code(w.text(), label, tuple(a for _, a in constants), tasks, functions=self.epilogue.functions)

    def _tile(self, w: Writer, function: TileFunction) -> None:
        cols, vectors, tail = function.columns, function.vectors, function.tail
        kw = self.window.kernel[1]
        with w.block(function.head):
            declare(w, range(cols.rows), vectors, self.lanes)
            if any(cols.taps):
                down = self.window.dilations[0] * self.x.strides[2]
                w.line(f"w += (ptrdiff_t)first * {kw * self.block};")
                w.line(f"at += (ptrdiff_t)first * {down};")
                with w.block("for (int32_t t = first; t < last; ++t)"):
                    for k in range(kw):
                        for v in range(vectors):
                            if cols.taps[k]:
                                w.line(f"const es_v w{k}_{v} = es_load(w + {k * self.block + v * self.lanes});")
                    self._products(w, cols, vectors, tail)
                    w.line(f"w += {kw * self.block};")
                    w.line(f"at += {down};")
            else:
                w.line("(void)x, (void)at, (void)first, (void)last, (void)w;")
            self.epilogue.store(w, self.y, range(cols.rows), vectors, tail, row_axis=3)
        w.line()

    def _products(self, w: Writer, cols: Columns, vectors: int, tail: int | None) -> None:
        s, d = self.window.strides[1], self.window.dilations[1]
        reached: dict[int, list[tuple[int, int]]] = {}
        for k, rows in enumerate(cols.taps):
            for r in rows:
                reached.setdefault(r * s + k * d, []).append((r, k))
        for column in sorted(reached):
            for v in range(vectors):
                partial = tail if v == vectors - 1 else None
                at = f"x + at + {column * self.x.strides[3] + v * self.lanes}"
                load = f"es_load({at})" if partial is None else f"es_load_n({at}, {partial})"
                w.line(f"const es_v x{column}_{v} = {load};")
                for r, k in reached[column]:
                    w.line(f"c{r}_{v} = es_fma(x{column}_{v}, w{k}_{v}, c{r}_{v});")
