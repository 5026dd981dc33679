"""Depthwise convolution: one filter a channel, vectors along the channels.

A tile of output columns keeps its sums in registers; each input vector of a row is loaded once and feeds every output
column that it reaches. All rows of a block of channels are done before the next block, so that the rows that
neighbouring output rows share are still in the first-level cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np

from edgesmith.c.writer import Writer
from edgesmith.ir import Graph, Node, View
from edgesmith.kernels.base import SIGNATURE, Code, Kernel, Problem, Reject, Schedule, kernel, unpack
from edgesmith.kernels.conv.direct import conv2d_reject
from edgesmith.kernels.conv.row import Columns, columns, write_row_range
from edgesmith.kernels.epilogue import Epilogue, strided
from edgesmith.kernels.region import Region, epilogue_chains
from edgesmith.kernels.tile import GIGAHERTZ
from edgesmith.ops import Array
from edgesmith.ops.conv import Conv

MAX_VARIANTS = 16
TARGET_TASKS = 16
MEMORY_BYTES_PER_NS = 70.0


@kernel
class Depthwise(Kernel):
    """Channels innermost in input and output, one filter a channel, any window."""

    name: ClassVar[str] = "depthwise"

    def regions(self, graph: Graph, anchor: Node) -> Iterator[Region]:
        if isinstance(anchor.op, Conv) and anchor.op.group > 1:
            yield from epilogue_chains(graph, anchor)

    def accepts(self, problem: Problem) -> Reject | None:
        reject = conv2d_reject(problem)
        if reject is not None:
            return reject
        op = problem.anchor.op
        assert isinstance(op, Conv)
        x, y = problem.type(problem.anchor.inputs[0]), problem.type(problem.anchor.outputs[0])
        if not (op.group == x.shape[1] == y.shape[1]):
            return Reject(f"{op.group} groups for {x.shape[1]} channels and {y.shape[1]} filters, needs one each")
        view = problem.view(problem.anchor.inputs[0])
        if view.strides[1] != 1 and view.shape[1] > 1:
            return Reject(f"input channels have stride {view.strides[1]}, vectors need 1")
        epilogue = Epilogue(problem)
        return Reject(epilogue.reject) if epilogue.reject else None

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
                if len(columns(op.window, extent, width, rows)) <= MAX_VARIANTS
            ]
        return found

    def cost(self, problem: Problem, schedule: Schedule) -> float:
        op = problem.anchor.op
        assert isinstance(op, Conv)
        batch, channels, height, width = problem.type(problem.anchor.outputs[0]).shape
        extent = problem.type(problem.anchor.inputs[0]).shape[3]
        rows, vectors = schedule["columns"], schedule["vectors"]
        kh, kw = op.window.kernel
        cycles = 0.0
        for c in columns(op.window, extent, width, rows):
            products = sum(map(len, c.taps)) * vectors
            loads = ((c.rows - 1) * op.window.strides[1] + kw + kw) * vectors
            per_tap_row = max(products / 2, loads / 2, 4.0) + 2
            cycles += c.tiles * (kh * per_tap_row + c.rows * vectors * (1 + len(problem.region.nodes)) / 2 + 10)
        blocks = -(-channels // (vectors * problem.target.lanes))
        compute = cycles * blocks * height * batch / GIGAHERTZ
        memory = problem.bytes_moved / MEMORY_BYTES_PER_NS
        return 100 + max(compute, memory) + 0.2 * min(compute, memory)

    def in_place(self, problem: Problem) -> tuple[str, ...]:
        return Epilogue(problem).in_place(problem)

    def emit(self, problem: Problem, schedule: Schedule) -> Code:
        return _Emitter(problem, schedule["columns"], schedule["vectors"]).code()


class _Emitter:
    def __init__(self, problem: Problem, rows: int, vectors: int) -> None:
        node, graph = problem.anchor, problem.graph
        assert isinstance(node.op, Conv)
        self.problem, self.rows, self.vectors = problem, rows, vectors
        self.window = node.op.window
        self.lanes = problem.target.lanes
        self.x, self.y = problem.view(node.inputs[0]), problem.view(problem.region.outputs[0])
        self.channels = self.y.shape[1]
        self.epilogue = Epilogue(problem)
        self.columns = columns(self.window, self.x.shape[3], self.y.shape[3], rows)
        self.block = vectors * self.lanes
        self.blocks = -(-self.channels // self.block)
        self.taps = self.window.kernel[0] * self.window.kernel[1]
        weights = graph.constants[node.inputs[1]].reshape(self.channels, self.taps)
        bias = graph.constants[node.inputs[2]] if len(node.inputs) > 2 and node.inputs[2] else None
        padded = np.zeros((self.blocks * self.block, self.taps), np.float32)
        padded[: self.channels] = weights
        # (block, tap, channel of the block)
        self.weights = np.ascontiguousarray(padded.reshape(self.blocks, self.block, self.taps).transpose(0, 2, 1))
        self.bias = np.zeros(self.blocks * self.block, np.float32)
        if bias is not None:
            self.bias[: self.channels] = bias

    def _variants(self) -> list[tuple[int, int | None]]:
        """(vectors, lanes of the last one) of whole blocks and of the last block, as far as they exist."""
        whole = self.channels // self.block
        rest = self.channels - whole * self.block
        tail = [(-(-rest // self.lanes), rest % self.lanes or None)] if rest else []
        return ([(self.vectors, None)] if whole else []) + tail

    def code(self) -> Code:
        constants = [("weights", self.weights), ("bias", self.bias), *self.epilogue.constants]
        w = Writer()
        for v, (vectors, tail) in enumerate(self._variants()):
            for c, cols in enumerate(self.columns):
                self._tile(w, f"@NAME@_{v}_{c}", cols, vectors, tail)
        batch, height = self.y.shape[0], self.y.shape[2]
        parts = min(height, -(-TARGET_TASKS // (batch * self.blocks)))
        rows = -(-height // parts)
        parts = -(-height // rows)
        with w.block(SIGNATURE):
            w.lines(unpack(self.problem, constants))
            w.line("(void)scratch;")
            with w.block("for (int32_t task = begin; task < end; ++task)"):
                w.line(f"const int32_t n = task / {self.blocks * parts};")
                w.line(f"const int32_t block = task / {parts} % {self.blocks}, part = task % {parts};")
                w.line(f"const int32_t channel = block * {self.block};")
                w.line(f"const float *const wp = weights + block * {self.taps * self.block};")
                w.line("const float *const bp = bias + channel;")
                w.line(f"const int32_t stop = (part + 1) * {rows} < {height} ? (part + 1) * {rows} : {height};")
                with w.block(f"for (int32_t oh = part * {rows}; oh < stop; ++oh)"):
                    self._row(w)
        kind = "x".join(map(str, self.window.kernel))
        label = f"conv{kind}_depthwise_f32{self.epilogue.label}_{self.rows}x{self.vectors}"
        tasks = batch * self.blocks * parts
        return Code(w.text(), label, tuple(a for _, a in constants), tasks, functions=self.epilogue.functions)

    def _row(self, w: Writer) -> None:
        x = self.x
        write_row_range(w, self.window, x.shape[2])
        start = f"(ptrdiff_t)n * {x.strides[0]} + (ptrdiff_t)top * {x.strides[2]} + channel"
        w.line(f"const ptrdiff_t at = {start} - {self.window.pads_begin[1] * x.strides[3]};")
        position = [(0, "(ptrdiff_t)n"), (1, "channel"), (2, "oh")]
        w.line(f"float *const yp = y0 + {strided(self.y, position)};")
        for array in self.epilogue.operands:
            w.line(f"const float *const {array.pointer}p = {array.pointer} + {strided(array.view, position)};")
        if len(self._variants()) == 1:
            self._tiles(w, 0)
            return
        with w.block(f"if (block < {self.channels // self.block})"):
            self._tiles(w, 0)
        with w.block("else"):
            self._tiles(w, 1)

    def _tiles(self, w: Writer, variant: int) -> None:
        step = self.window.strides[1] * self.x.strides[3]

        def call(c: int, ow: str) -> str:
            operands = "".join(f", {a.pointer}p + {strided(a.view, [(3, ow)])}" for a in self.epilogue.operands)
            return (
                f"@NAME@_{variant}_{c}(x0, at + {ow} * {step}, first, last, wp, bp, "
                f"yp + {strided(self.y, [(3, ow)])}{operands});"
            )

        for c, cols in enumerate(self.columns):
            if cols.tiles == 1:
                w.line(call(c, str(cols.first)))
                continue
            stop = cols.first + cols.tiles * cols.rows
            with w.block(f"for (int32_t ow = {cols.first}; ow < {stop}; ow += {cols.rows})"):
                w.line(call(c, "ow"))

    def _tile(self, w: Writer, name: str, cols: Columns, vectors: int, tail: int | None) -> None:
        operands = "".join(f", const float *{a.pointer}" for a in self.epilogue.operands)
        kw = self.window.kernel[1]
        down = self.window.dilations[0] * self.x.strides[2]
        with w.block(
            f"static void {name}(const float *x, ptrdiff_t at, int32_t first, int32_t last, const float *w, "
            f"const float *b, float *y{operands})"
        ):
            for v in range(vectors):
                w.line(f"const es_v bias{v} = es_load(b + {v * self.lanes});")
            for r in range(cols.rows):
                w.line("es_v " + ", ".join(f"c{r}_{v} = bias{v}" for v in range(vectors)) + ";")
            w.line(f"w += first * {kw * self.block};")
            w.line(f"at += (ptrdiff_t)first * {down};")
            with w.block("for (int32_t t = first; t < last; ++t)"):
                for k in range(kw):
                    for v in range(vectors):
                        if cols.taps[k]:
                            w.line(f"const es_v w{k}_{v} = es_load(w + {k * self.block + v * self.lanes});")
                self._products(w, cols, vectors, tail)
                w.line(f"w += {kw * self.block};")
                w.line(f"at += {down};")
            for r in range(cols.rows):
                for v in range(vectors):
                    self._store(w, r, v, tail if v == vectors - 1 else None)
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

    def _store(self, w: Writer, row: int, vector: int, partial: int | None) -> None:
        def offset(view: View) -> int:
            channel = vector * self.lanes if view.strides[1] == 1 or view.shape[1] == 1 else 0
            return row * view.strides[3] + channel

        def address(array: Array) -> str:
            return f"{array.pointer} + {offset(array.view)}"

        value = self.epilogue.apply(w, f"c{row}_{vector}", address, partial)
        target = f"y + {offset(self.y)}"
        w.line(f"es_store({target}, {value});" if partial is None else f"es_store_n({target}, {value}, {partial});")
