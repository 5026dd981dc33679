"""Grouped convolution in two-dimensional register tiles, with as many filters a group as channels, all within a vector.

Vectors run along the channels, one group after the other, so that input and output vectors hold the same groups. An
output tile keeps its sums in registers; each input vector of the tile's window is loaded once and feeds every output of
the tile that it reaches. With several channels a group, each is first spread over the lanes of its group. Windows that
hang over the border of the input have code of their own without the taps outside, so that nothing is tested, padded or
copied. All vectors of a block of channels are done for one tile before the next: memory is walked in its order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import ClassVar

import numpy as np

from edgesmith.c.writer import Writer
from edgesmith.ir import DType, Graph, Node
from edgesmith.kernels.base import SIGNATURE, Code, Kernel, Problem, Reject, Schedule, unpack
from edgesmith.kernels.conv.direct import conv2d_reject
from edgesmith.kernels.conv.row import Columns, columns
from edgesmith.kernels.conv.window_sums import WindowSums, is_small, shapes
from edgesmith.kernels.cycles import FLOAT_BYTES
from edgesmith.kernels.epilogue import Epilogue, strided
from edgesmith.kernels.region import Region, epilogue_chains
from edgesmith.kernels.tile import Panels, pack_bias
from edgesmith.ops.conv import Conv

__all__ = ["WindowTileCode", "WindowTileKernel", "WindowTiling", "grouped_reject"]

TASKS_PER_CORE = 8
OVERLAP = 0.55
"""Share of the shorter of arithmetic and memory traffic that is not hidden behind the longer."""
NEAR_SHARE, FAR_READ_SHARE, FAR_WRITE_SHARE = 17 / 22, 16 / 28, 40 / 28
"""Of the bandwidths from the second-level cache and from behind it."""
CHUNK_BYTES = 256
"""Gaps between what is read cost as much as so many bytes."""


class WindowTiling:
    """One problem with one schedule: ``lines`` x ``columns`` outputs a tile, ``vectors`` of channels a block."""

    element = DType.F32
    """Type of input and weights in memory, and of the bias."""

    def __init__(self, problem: Problem, schedule: Schedule) -> None:
        node = problem.anchor
        assert isinstance(node.op, Conv)
        self.problem, self.window = problem, node.op.window
        self.lanes = self.lanes_of(problem)
        self.x, self.y = problem.view(self.input), problem.view(problem.region.outputs[0])
        self.batch, self.channels, self.height, self.width = self.y.shape
        self.vectors = schedule["vectors"]
        self.lines, self.columns = schedule["lines"], schedule["columns"]
        self.depth = self.channels // node.op.group
        self.steps = math.prod(self.window.kernel) * self.depth

    @classmethod
    def lanes_of(cls, problem: Problem) -> int:
        """Numbers of a vector."""
        return problem.target.lanes * FLOAT_BYTES // cls.element.itemsize

    @property
    def input(self) -> str:
        """The value in memory that is multiplied."""
        return self.problem.anchor.inputs[0]

    def make_epilogue(self) -> Epilogue:
        return Epilogue(self.problem)

    @cached_property
    def down(self) -> tuple[Columns, ...]:
        """The tiles from the top to the bottom of the output."""
        return columns(self.window, self.x.shape[2], self.height, self.lines, axis=0)

    @cached_property
    def across(self) -> tuple[Columns, ...]:
        """The tiles from the left to the right of the output."""
        return columns(self.window, self.x.shape[3], self.width, self.columns)

    @property
    def tiles_down(self) -> int:
        return sum(span.tiles for span in self.down)

    @property
    def full_vectors(self) -> int:
        return self.channels // self.lanes

    @property
    def tail(self) -> int:
        """Channels behind the last full vector."""
        return self.channels % self.lanes

    @property
    def blocks(self) -> int:
        return max(1, self.full_vectors // self.vectors)

    @property
    def parts(self) -> int:
        """Tasks from the top to the bottom of one block."""
        wanted = -(-TASKS_PER_CORE * self.problem.target.cores // (self.batch * self.blocks))
        return min(self.tiles_down, wanted)

    def sums(self, rows: Columns, cols: Columns) -> WindowSums:
        return WindowSums(self.window, rows, cols, self.depth, self.lanes)

    @property
    def is_small(self) -> bool:
        """Whether its code is."""
        return is_small(self.steps * self.lines * self.columns, self.down, self.across)

    def cycles(self) -> float:
        """Predicted on one core: arithmetic, and the way of data between the caches, which overlap in part."""
        vectors = -(-self.channels // self.lanes)
        target, x_bytes, operators = self.problem.target, self.x.type.nbytes, len(self.problem.region.nodes)
        compute = sum(
            rows.tiles * cols.tiles * self.sums(rows, cols).cycles(target, x_bytes, operators)
            for rows in self.down
            for cols in self.across
        )
        compute *= vectors * self.batch
        moved = self._moved_cycles()
        return max(compute, moved) + OVERLAP * min(compute, moved)

    def _moved_cycles(self) -> float:
        """Of input and output from and to the outer caches, and of what does not stay in the first level."""
        target = self.problem.target
        chunk = min(self.vectors * self.lanes, self.channels) * self.element.itemsize
        x_bytes, y_bytes = self.x.type.nbytes, self.y.type.nbytes
        reach = (self.lines - 1) * self.window.strides[0] + self.window.kernel[0]
        waste = 1 + (CHUNK_BYTES / chunk if chunk < self.channels * self.element.itemsize else 0.0)
        near = 0.0
        window_bytes = reach * self.x.shape[3] * chunk
        if window_bytes > target.l1_bytes * 3 // 4:
            near += x_bytes * (reach / (self.lines * self.window.strides[0]) - 1) * waste
        weights = chunk * self.steps
        if weights > target.l1_bytes // 2:
            tiles = self.tiles_down * sum(c.tiles for c in self.across)
            near += self.channels * self.element.itemsize * self.steps * tiles * self.batch
        core = target.core
        near_rate, far_rate = NEAR_SHARE * core.l2_bytes_per_cycle, FAR_READ_SHARE * core.far_bytes_per_cycle
        read = x_bytes * waste / (far_rate if x_bytes > target.l2_bytes // 2 else near_rate)
        return read + y_bytes / (FAR_WRITE_SHARE * core.far_bytes_per_cycle) + near / near_rate


def grouped_reject(problem: Problem) -> Reject | None:
    """Why a region is not a grouped convolution with as many filters as channels, and these innermost."""
    reject = conv2d_reject(problem)
    if reject is not None:
        return reject
    op = problem.anchor.op
    assert isinstance(op, Conv)
    x, y = problem.type(problem.anchor.inputs[0]), problem.type(problem.anchor.outputs[0])
    if x.shape[1] != y.shape[1]:
        return Reject(f"{y.shape[1]} filters for {x.shape[1]} channels, needs as many")
    view = problem.view(problem.anchor.inputs[0])
    if view.strides[1] != 1 and view.shape[1] > 1:
        return Reject(f"input channels have stride {view.strides[1]}, vectors need 1")
    epilogue = Epilogue(problem)
    return Reject(epilogue.reject) if epilogue.reject else None


class WindowTileKernel(Kernel):
    """Channels innermost in input and output, as many filters as channels, windows of a few taps."""

    tiling: ClassVar[type[WindowTiling]] = WindowTiling

    def regions(self, graph: Graph, anchor: Node) -> Iterator[Region]:
        if isinstance(anchor.op, Conv) and anchor.op.group > 1:
            yield from epilogue_chains(graph, anchor)

    def accepts(self, problem: Problem) -> Reject | None:
        reject = grouped_reject(problem)
        if reject is not None:
            return reject
        op = problem.anchor.op
        assert isinstance(op, Conv)
        depth = problem.type(problem.anchor.inputs[0]).shape[1] // op.group
        if problem.target.lanes % depth:
            return Reject(f"{depth} channels a group do not divide the {problem.target.lanes} lanes of a vector")
        if not self.schedules(problem):
            return Reject(f"{'x'.join(map(str, op.window.kernel))} taps are too many to write out one by one")
        return None

    def schedules(self, problem: Problem) -> Sequence[Schedule]:
        _, channels, height, width = problem.type(problem.anchor.outputs[0]).shape
        vectors = max(1, channels // self.tiling.lanes_of(problem))
        blocks = dict.fromkeys((vectors, _divisor(vectors, 16), _divisor(vectors, 4)))
        found = (
            {"lines": lines, "columns": cols, "vectors": block}
            for lines, cols in shapes(problem.target, height, width)
            for block in blocks
        )
        return [schedule for schedule in found if self.tiling(problem, schedule).is_small]

    def cost(self, problem: Problem, schedule: Schedule) -> float:
        return 100 + self.tiling(problem, schedule).cycles() / problem.target.gigahertz

    def in_place(self, problem: Problem) -> tuple[str, ...]:
        return Epilogue(problem).in_place(problem)

    def emit(self, problem: Problem, schedule: Schedule) -> Code:
        return WindowTileCode(self.tiling(problem, schedule)).code()


def _divisor(n: int, most: int) -> int:
    """The largest divisor of n up to ``most``."""
    return next(d for d in range(min(n, most), 0, -1) if n % d == 0)


class WindowTileCode:
    """Writes the tiles and the loops around them."""

    def __init__(self, geometry: WindowTiling) -> None:
        self.g = g = geometry
        self.epilogue = g.make_epilogue()
        self.number = g.element.c
        node, graph = g.problem.anchor, g.problem.graph
        weights = graph.constants[node.inputs[1]]
        weights = weights.reshape(g.channels, g.depth, -1).transpose(0, 2, 1).reshape(g.channels, g.steps)
        padded = np.zeros((-(-g.channels // g.lanes) * g.lanes, g.steps), g.element.numpy)
        padded[: g.channels] = weights
        # (vector, tap and channel of the group, lane)
        self.weights = np.ascontiguousarray(padded.reshape(-1, g.lanes, g.steps).transpose(0, 2, 1))
        bias = graph.constants[node.inputs[2]] if len(node.inputs) > 2 and node.inputs[2] else None
        self.bias = pack_bias(bias, Panels(g.channels, g.lanes, 1)).astype(g.element.numpy)

    def code(self) -> Code:
        g = self.g
        constants = [("weights", self.weights), ("bias", self.bias), *self.epilogue.constants]
        w = Writer()
        for i, rows in enumerate(g.down):
            for j, cols in enumerate(g.across):
                if g.full_vectors:
                    self._tile(w, f"@NAME@_{i}_{j}", rows, cols, None)
                if g.tail:
                    self._tile(w, f"@NAME@_{i}_{j}_tail", rows, cols, g.tail)
        with w.block(SIGNATURE):
            w.lines(unpack(g.problem, constants))
            w.line("(void)scratch;")
            self._driver(w)
        kind = "x".join(map(str, g.window.kernel))
        algorithm = "depthwise" if g.depth == 1 else "grouped"
        label = f"conv{kind}_{algorithm}_{g.element}{self.epilogue.label}_{g.lines}x{g.columns}"
        return Code(
            w.text(),
            label,
            tuple(a for _, a in constants),
            g.batch * g.blocks * g.parts,
            functions=self.epilogue.functions,
        )

    def _driver(self, w: Writer) -> None:
        """Write the loops over tasks, tiles from top to bottom, and tiles from left to right."""
        g = self.g
        with w.block("for (int32_t task = begin; task < end; ++task)"):
            w.unravel("task", (("n", g.batch), ("part", g.parts), ("block", g.blocks)))
            w.line(f"const int32_t start = part * {g.tiles_down} / {g.parts};")
            w.line(f"const int32_t stop = (part + 1) * {g.tiles_down} / {g.parts};")
            width = g.vectors * g.lanes
            w.line(f"const int32_t channel = block * {width};")
            w.line(f"const {self.number} *const wp = weights + (ptrdiff_t)channel * {g.steps};")
            w.line(f"const {self.number} *const bp = bias + channel;")
            first_tile = 0
            for i, rows in enumerate(g.down):
                last_tile = first_tile + rows.tiles
                w.line(f"const int32_t first{i} = start > {first_tile} ? start : {first_tile};")
                w.line(f"const int32_t last{i} = stop < {last_tile} ? stop : {last_tile};")
                with w.block(f"for (int32_t tile = first{i}; tile < last{i}; ++tile)"):
                    w.line(f"const int32_t oh = {rows.first} + (tile - {first_tile}) * {rows.rows};")
                    self._line(w, i)
                first_tile = last_tile

    def _line(self, w: Writer, i: int) -> None:
        """Write the tiles of the output rows from the C variable ``oh`` on."""
        g = self.g
        image, _, row, column = g.x.strides
        (sh, sw), (ph, pw) = g.window.strides, g.window.pads_begin
        w.line(
            f"const ptrdiff_t at = (ptrdiff_t)n * {image} + (ptrdiff_t)(oh * {sh} - {ph}) * {row}"
            f" - {pw * column} + channel;"
        )
        position = [(0, "n"), (1, "channel"), (2, "oh")]
        w.line(f"{g.y.dtype.c} *const yp = y0 + {strided(g.y, position)};")
        for array in self.epilogue.operands:
            start = f"{array.pointer} + {strided(array.view, position)}"
            w.line(f"const {array.view.dtype.c} *const {array.pointer}p = {start};")
        for j, cols in enumerate(g.across):
            with w.loop("ow", cols.first + cols.tiles * cols.rows, cols.first, cols.rows):
                place = [(3, "ow")]
                x_at = f"at + (ptrdiff_t)ow * {sw * column}"
                y_at = f"yp + {strided(g.y, place)}"
                full = f"@NAME@_{i}_{j}"
                if g.full_vectors:
                    w.line(f"{full}(x0, {x_at}, {g.vectors}, wp, bp, {y_at}{self.epilogue.arguments(place, 'p')});")
                if g.tail:
                    skip = g.vectors * g.lanes if g.full_vectors else 0
                    behind = [(1, str(skip)), (3, "ow")]
                    call = (
                        f"{full}_tail(x0, {x_at} + {skip}, 1, wp + {skip * g.steps}, bp + {skip}, "
                        f"yp + {strided(g.y, behind)}{self.epilogue.arguments(behind, 'p')});"
                    )
                    w.line(f"if (block == {g.blocks - 1}) {{ {call} }}" if g.blocks > 1 else call)

    def _tile(self, w: Writer, name: str, rows: Columns, cols: Columns, tail: int | None) -> None:
        g = self.g
        pointers = f"const {self.number} *w, const {self.number} *b, {g.y.dtype.c} *y"
        parameters = f"const {self.number} *x, ptrdiff_t at, int32_t vectors, {pointers}"
        with w.block(f"static void {name}({parameters}{self.epilogue.parameters})"):
            row, column = g.x.strides[2:]
            g.sums(rows, cols).write(w, lambda i, j: f"x + at + {i * row + j * column}", g.y, self.epilogue, tail)
            w.line("(void)x, (void)at, (void)w;")
        w.line()
