"""Register tiles: the inner loops that convolutions and matrix products share.

A tile computes ``rows`` output rows (pixels of a convolution, rows of a matrix) by ``vectors`` vectors of output
channels. All its sums stay in registers while the reduction runs; each step of the reduction broadcasts one input
element a row and multiplies it with ``vectors`` vectors of packed weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from edgesmith.c.writer import Writer
from edgesmith.ir import DType
from edgesmith.kernels.cycles import (
    FLOAT_BYTES,
    LINE_BYTES,
    l1_ways,
)
from edgesmith.kernels.lane_loop import LaneLoop
from edgesmith.target import Target

__all__ = [
    "FLOATS",
    "FLOAT_BYTES",
    "LINE_BYTES",
    "Panels",
    "Products",
    "Segment",
    "TileShape",
    "accumulate",
    "candidates",
    "cycles_per_step",
    "declare",
    "input_cycles",
    "pack",
    "pack_bias",
    "steps_per_iteration",
    "takes_lanes",
]

CYCLES_PER_FILL = 5.0
CYCLES_PER_CONFLICT = 2.7
UNROLLED_STEPS = 4
LOOP_CYCLES = 0.25
MANY_STEPS = 64
ISSUE_SHARE = 0.25
"""Part of the instructions beside multiply-adds, in cycles, that does not hide behind them."""


@dataclass(frozen=True)
class Products:
    """How one reduction step multiplies and sums.

    Args:
        group: neighbouring input elements that a step multiplies in every lane.
        element: type of input and weights in memory.
        vector: C type of the operands in registers.
        repeat: template of the group that begins ``{1}`` elements after the address ``{0}``, in every lane.
        load: template of the weights at the address ``{0}``.
        add: template of the sum ``{0}`` plus the products of ``{1}`` and ``{2}``.
        cycles: of one step's products, in those of a multiply-add of floats.
        registers: further ones that it needs.
    """

    group: int
    element: DType
    vector: str
    repeat: str
    load: str
    add: str
    cycles: float = 1.0
    registers: int = 0


FLOATS = Products(1, DType.F32, "es_v", "es_set1({0}[{1}])", "es_load({0})", "es_fma({1}, {2}, {0})")


@dataclass(frozen=True)
class TileShape:
    """``rows`` x ``vectors`` accumulators."""

    rows: int
    vectors: int

    @property
    def registers(self) -> int:
        """Vector registers in use: the sums, the operands along the shorter side, and one of the longer side."""
        return self.rows * self.vectors + min(self.rows, self.vectors) + 1


def candidates(target: Target, rows: int, vectors: int) -> list[TileShape]:
    """Every tile that leaves a register free, no larger than the problem.

    With none free, compilers that load ahead of use spill a sum in every step.

    Args:
        rows, vectors: extent of the problem.
    """
    found = []
    for v in range(1, min(vectors, target.registers) + 1):
        shapes = [TileShape(r, v) for r in range(1, min(target.registers, rows) + 1)]
        found += [s for s in shapes if s.registers < target.registers]
    return [s for s in found if takes_lanes(target, s)] if target.has("fma_lane") else found


def takes_lanes(target: Target, tile: TileShape) -> bool:
    """Whether the vectors that hold several steps' elements of each row fit the registers beside the sums."""
    return target.has("fma_lane") and tile.rows * (tile.vectors + 1) + 2 <= target.registers


def cycles_per_step(target: Target, tile: TileShape, input_cycles: float = 0.0, products: Products = FLOATS) -> float:
    """Cycles of one reduction step: multiply-add issue, load issue or latency, whichever binds.

    Args:
        input_cycles: load slots lost to bringing input rows into the first-level cache (see ``input_cycles``).
    """
    core = target.core
    multiply = tile.rows * tile.vectors * products.cycles / core.fma_per_cycle
    loop = LaneLoop.of(target, tile.rows, [tile.vectors], MANY_STEPS) if products is FLOATS else None
    if loop:
        load = (tile.rows / target.lanes + tile.vectors) / core.loads_per_cycle + input_cycles
        others = loop.instructions_per_step - tile.rows * tile.vectors
        return max(multiply, load, core.fma_latency) + ISSUE_SHARE * others
    load = (tile.rows + tile.vectors) / core.loads_per_cycle + input_cycles
    return max(multiply, load, core.fma_latency) + LOOP_CYCLES / steps_per_iteration(tile.rows, tile.vectors)


def input_cycles(target: Target, rows: int, row_stride: int, steps: int) -> float:
    """Load slots a step that input rows cost when they do not stay in the first-level cache.

    Each row brings in one line every 16 steps; rows whose distance is a multiple of the cache's way size compete for
    the same lines, and those beyond its associativity are fetched again at every step.

    Args:
        row_stride: elements from one row to the next.
        steps: reduction steps that touch neighbouring elements of a row.
    """
    if rows * steps * FLOAT_BYTES <= target.l1_bytes // 4:
        return 0.0
    ways = l1_ways(target)
    sets = max(target.l1_bytes // (LINE_BYTES * ways), 1)
    distinct = sets // math.gcd(max(row_stride * FLOAT_BYTES // LINE_BYTES, 1), sets)
    excess = max(0, rows - ways * distinct)
    return rows * FLOAT_BYTES / LINE_BYTES * CYCLES_PER_FILL + excess * CYCLES_PER_CONFLICT


@dataclass(frozen=True)
class Panels:
    """Output channels cut into panels of ``vectors`` vectors; the last one may be smaller."""

    channels: int
    lanes: int
    vectors: int

    @property
    def count(self) -> int:
        return -(-self.channels // (self.vectors * self.lanes))

    @property
    def full(self) -> int:
        """Number of panels without a tail."""
        return self.channels // (self.vectors * self.lanes)

    @property
    def tail_vectors(self) -> int:
        """Vectors of the last panel when it is not full, else 0."""
        rest = self.channels - self.full * self.vectors * self.lanes
        return -(-rest // self.lanes)

    @property
    def tail_lanes(self) -> int | None:
        """Lanes of the very last vector, None when it is whole."""
        return self.channels % self.lanes or None

    def variants(self) -> list[tuple[int, int | None]]:
        """(vectors, lanes of the last vector or None) of the full and of the tail panel, as far as they exist."""
        full = [(self.vectors, None)] if self.full else []
        return full + ([(self.tail_vectors, self.tail_lanes)] if self.tail_vectors else [])

    def counted(self) -> list[tuple[tuple[int, int | None], int]]:
        """Each of the ``variants`` with the number of such panels."""
        counts = [n for n in (self.full, min(self.tail_vectors, 1)) if n]
        return list(zip(self.variants(), counts, strict=True))

    def write_variants(self, w: Writer, panel: str, body: Callable[[int], None]) -> None:
        """Write ``body`` of the variant that the C index ``panel`` needs.

        Args:
            body: writes the code for a position in ``variants()``.
        """
        if len(self.variants()) == 1:
            body(0)
            return
        with w.block(f"if ({panel} < {self.full})"):
            body(0)
        with w.block("else"):
            body(1)


def pack(weights: np.ndarray, panels: Panels) -> np.ndarray:
    """Weights (channels, steps) as panels: for each panel, for each step, the panel's channels side by side.

    Full panels have ``vectors`` vectors, the tail panel only as many as it needs; missing lanes are 0.

    Returns:
        A flat array in which panel p begins at p x steps x vectors x lanes.
    """
    channels, steps = weights.shape
    width = panels.vectors * panels.lanes
    parts = []
    for start in range(0, channels, width):
        part = weights[start : start + width]
        padded = np.zeros((-(-len(part) // panels.lanes) * panels.lanes, steps), np.float32)
        padded[: len(part)] = part
        parts.append(np.ascontiguousarray(padded.T).reshape(-1))
    return np.concatenate(parts)


def pack_bias(bias: np.ndarray | None, panels: Panels) -> np.ndarray:
    """The bias padded with zeros to whole vectors."""
    padded = np.zeros(-(-panels.channels // panels.lanes) * panels.lanes, np.float32)
    if bias is not None:
        padded[: panels.channels] = bias
    return padded


@dataclass(frozen=True)
class Segment:
    """A run of reduction steps.

    Args:
        count: number of steps.
        offset: C text of the input offset of the first step, relative to the tile's first row.
        stride: input elements from one step to the next.
        rows: rows of the tile that take part (others lie in the padding).
    """

    count: int
    offset: str
    stride: int
    rows: tuple[int, ...]


def accumulate(
    w: Writer,
    segment: Segment,
    row_offset: Callable[[int], int],
    vectors: int,
    target: Target,
    ahead_lines: int = 0,
    products: Products = FLOATS,
    *,
    fresh: bool = False,
) -> None:
    """Write the loop of one segment: ``c<row>_<vector> += x[...] * weights``; advances the pointer ``w``.

    The shorter side of the tile is held in registers during a step, the longer one streams through a single register.
    Where instructions multiply by one lane, a vector holds the elements of a row for as many steps as it has lanes, and
    nothing is requested ahead: these loops read weights as fast as one stream of addresses brings them.

    Args:
        row_offset: input elements from the tile's first row to a row.
        ahead_lines: cache lines that each iteration requests from the pointer ``ahead`` on, which it advances.
        fresh: the sums have no value yet, and the steps, of floats, are no more than ``UNROLLED_STEPS``.
    """
    rows, lanes = segment.rows, target.lanes
    kind, width = products.vector, vectors * lanes * products.group
    line = LINE_BYTES // products.element.itemsize

    def weight(u: int, v: int) -> None:
        at = u * width + v * lanes * products.group
        w.line(f"const {kind} b{v} = {products.load.format(f'w + {at}' if at else 'w')};")

    def element(u: int, r: int) -> None:
        w.line(f"const {kind} a{r} = {products.repeat.format('xk', u * segment.stride + row_offset(r))};")

    def step(u: int) -> None:
        wide = len(rows) < vectors
        for r in rows if wide else ():
            element(u, r)
        for v in () if wide else range(vectors):
            weight(u, v)
        for outer in range(vectors) if wide else rows:
            if wide:
                weight(u, outer)
            else:
                element(u, outer)
            for r, v in ((r, outer) for r in rows) if wide else ((outer, v) for v in range(vectors)):
                added = products.add.format(f"c{r}_{v}", f"a{r}", f"b{v}")
                w.line(f"c{r}_{v} = {f'a{r} * b{v}' if fresh and u == 0 else added};")

    def steps(count: int) -> None:
        for u in range(count):
            with w.block(""):
                step(u)

    def lane_steps() -> None:
        for r in rows:
            w.line(f"const es_v a{r} = es_load(xk + {row_offset(r)});")
        for u in range(lanes):
            with w.block(""):
                for v in range(vectors):
                    weight(u, v)
                    for r in rows:
                        w.line(f"c{r}_{v} = es_fma_lane(b{v}, a{r}, c{r}_{v}, {u});")

    def repeated(rounds: int, unroll: int, lines: int, body: Callable[[], None]) -> None:
        with w.block(f"for (ptrdiff_t k = 0; k < {rounds}; ++k)"):
            for number in range(lines):
                w.line(f"__builtin_prefetch(ahead + {number * line}, 0, 2);")
            if lines:
                w.line(f"ahead += {lines * line};")
            body()
            w.line(f"xk += {unroll * segment.stride};")
            w.line(f"w += {unroll * width};")

    def single(count: int) -> None:
        if count:
            steps(count)
            w.line(f"w += {count * width};")

    by_lane = products is FLOATS and segment.stride == 1
    loop = LaneLoop.of(target, len(rows), [vectors], segment.count) if by_lane and not fresh else None
    start = f"x{'' if segment.offset == '0' else f' + {segment.offset}'}"
    with w.block(""):
        w.line(f"const {products.element.c} *xk = {start};")
        if loop:
            rounds, rest = divmod(segment.count, loop.steps)
            in_c = partial(repeated, rounds * loop.held, lanes, 0, lane_steps)
            at = [f"xk + {row_offset(r)}" for r in rows]
            loop.write(w, rounds, at, ["w"], lambda i, _, v: f"c{rows[i]}_{v}", in_c)
            if rest:
                w.line(f"xk = {start} + {rounds * loop.steps};")
            if rest >= lanes:
                repeated(1, lanes, 0, lane_steps)
            single(rest % lanes)
            return
        unroll = segment.count if segment.count <= UNROLLED_STEPS else steps_per_iteration(len(rows), vectors)
        rounds, rest = divmod(segment.count, unroll)
        if rounds > 1:
            repeated(rounds, unroll, ahead_lines, partial(steps, unroll))
        single(rest + (unroll if rounds == 1 else 0))


def steps_per_iteration(rows: int, vectors: int) -> int:
    """How far the loop over the reduction is unrolled.

    Compilers keep every sum in its own register through two steps, except where one row or one vector leaves them to
    choose which operand a multiply-add overwrites.
    """
    return 1 if min(rows, vectors) == 1 else 2


def declare(w: Writer, rows: Sequence[int], vectors: int, lanes: int, bias: str = "b") -> None:
    """Write the accumulators, each starting as the bias."""
    for v in range(vectors):
        w.line(f"const es_v bias{v} = es_load({f'{bias} + {v * lanes}' if v else bias});")
    for r in rows:
        w.line("es_v " + ", ".join(f"c{r}_{v} = bias{v}" for v in range(vectors)) + ";")
