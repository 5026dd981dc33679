"""What the kernels of chains share: regions, tuning space and predicted time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from math import prod
from typing import ClassVar

from edgesmith.ir import Graph, Node
from edgesmith.kernels.base import Code, Kernel, Problem, Reject, Schedule
from edgesmith.kernels.conv.chain import Chain, Pattern, Tiling, chain_regions
from edgesmith.kernels.conv.chain_code import ChainCode
from edgesmith.kernels.conv.window_sums import WindowSums, even, is_small, shapes
from edgesmith.kernels.cycles import FLOAT_BYTES, far_cycles
from edgesmith.kernels.gemm.packed import Product
from edgesmith.kernels.region import Region
from edgesmith.kernels.tile import TileShape, candidates

__all__ = ["ChainKernel"]

STEP_NS = 100.0
BLOCK_CYCLES = 100.0
TILE_CYCLES = 10.0
MAX_COLUMNS = 16
MAX_VARIANTS = 16
MAX_PANEL_VECTORS = 4
EXPAND_TILES, PROJECT_TILES = 2, 2
"""Register tiles of the products that are tried."""

ROWS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 14, 16, 28)
TILES_DOWN, MAX_TILE_ROWS = (1, 2, 4), 8
"""Two-dimensional depthwise tiles from top to bottom of a block, and its rows unless one tile has more."""
MIN_TASKS = 4
"""Blocks are no larger than that so many can be computed at once."""

SCRATCH_SHARE = 0.6
"""Of the second-level cache that rows and results of a block may take."""

NEAR_SHARE = 0.25
"""Part of the time for data from the second-level cache that does not hide behind arithmetic."""


class ChainKernel(Kernel):
    """A kernel for chains of one pattern."""

    pattern: ClassVar[Pattern]

    def regions(self, graph: Graph, anchor: Node) -> Iterator[Region]:
        return chain_regions(graph, anchor, self.pattern)

    def accepts(self, problem: Problem) -> Reject | None:
        reason = _chain(problem, self.pattern).reject
        return Reject(reason) if reason else None

    def schedules(self, problem: Problem) -> Sequence[Schedule]:
        chain = _chain(problem, self.pattern)
        most = problem.target.l2_bytes * SCRATCH_SHARE
        tilings = [replace(t, rows=rows) for t in _tiles(chain) for rows in _rows(chain, t.lines)]
        least = min((chain.scratch_bytes(t) for t in tilings), default=0)
        return [t.schedule() for t in tilings if chain.scratch_bytes(t) <= max(most, least)]

    def cost(self, problem: Problem, schedule: Schedule) -> float:
        chain, tiling = _chain(problem, self.pattern), Tiling.of(schedule)
        batch, _, height, _ = chain.y.shape
        blocks = batch * -(-height // tiling.rows)
        cycles = _depthwise_cycles(chain, tiling) + blocks * BLOCK_CYCLES
        cycles += NEAR_SHARE * _near_bytes(chain, tiling) / problem.target.core.l2_bytes_per_cycle
        products, weights_bytes = 0.0, 0
        for product, tile in ((chain.expand, tiling.expand), (chain.project, tiling.project)):
            if product and tile:
                products += _nanoseconds(product, tile)
                weights_bytes += product.weights.nbytes
        if weights_bytes + chain.scratch_bytes(tiling) > problem.target.l2_bytes:
            cycles += far_cycles(problem.target.l2_bytes + (blocks - 1) * weights_bytes, problem.target)
        return STEP_NS + cycles / problem.target.gigahertz + products

    def in_place(self, problem: Problem) -> tuple[str, ...]:
        chain = _chain(problem, self.pattern)
        last = chain.problems[-1]
        earlier = {v for p in chain.problems[:-1] for n in p.region.nodes for v in n.read}
        epilogue = chain.project.epilogue if chain.project else chain.epilogue
        return tuple(v for v in epilogue.in_place(last) if v not in earlier)

    def emit(self, problem: Problem, schedule: Schedule) -> Code:
        return ChainCode(_chain(problem, self.pattern), Tiling.of(schedule)).code()


@lru_cache(maxsize=64)
def _chain(problem: Problem, pattern: Pattern) -> Chain:
    return Chain(problem, pattern)


def _tiles(chain: Chain) -> Iterator[Tiling]:
    """Register tiles worth trying together, in blocks of one tile's rows."""
    projects: list[TileShape | None] = [None]
    if chain.project:
        projects = [*_best_products(chain.project, chain.project.rows)[:PROJECT_TILES]]
    expands: list[TileShape | None] = [None]
    if chain.expand:
        expands = [*_best_products(chain.expand, chain.x.shape[3])[:EXPAND_TILES]]
    for expand in expands:
        for tiling in _best_tiles(chain, expand) or _best_row_tiles(chain, expand):
            yield from (replace(tiling, project=project) for project in projects)


def _best_tiles(chain: Chain, expand: TileShape | None) -> list[Tiling]:
    """The best two-dimensional depthwise tile of each height; none when the window has too many taps."""
    taps = prod(chain.op.window.kernel)
    vectors = expand.vectors if expand else -(-chain.channels // chain.lanes)
    best: dict[int, tuple[float, Tiling]] = {}
    for lines, cols in shapes(chain.problem.target, *chain.y.shape[2:]):
        if is_small(taps * lines * cols, chain.lines(lines), chain.tiles(cols)):
            cycles = _tile_cycles(chain, lines, cols)
            if cycles < best.get(lines, (float("inf"), None))[0]:
                best[lines] = cycles, Tiling(lines, expand, cols, vectors, None, lines)
    return [tiling for _, tiling in best.values()]


def _best_row_tiles(chain: Chain, expand: TileShape | None) -> list[Tiling]:
    """For each number of vectors the best depthwise tile of one row."""
    found = []
    for vectors in (1, 2, 3):
        if (expand.vectors if expand else vectors) % vectors or (vectors > 1 and chain.channels <= chain.lanes):
            continue
        columns = _best_columns(chain, expand, vectors)
        if columns:
            found.append(Tiling(1, expand, columns, vectors, None))
    return found


def _rows(chain: Chain, lines: int) -> list[int]:
    """Output rows of a block worth trying: whole depthwise tiles."""
    batch, _, height, _ = chain.y.shape
    if lines:
        most = min(height, max(lines, MAX_TILE_ROWS))
        found = dict.fromkeys(min(lines * count, height) for count in TILES_DOWN if lines * count <= most)
        return [r for r in found if r == lines or batch * -(-height // r) >= MIN_TASKS]
    largest = max(1, batch * height // MIN_TASKS)
    return list(dict.fromkeys(even(height, min(r, largest)) for r in ROWS))


@lru_cache(maxsize=512)
def _nanoseconds(product: Product, tile: TileShape) -> float:
    return product.nanoseconds(tile)


def _best_products(product: Product, rows: int) -> list[TileShape]:
    """For each number of vectors the best tile, the best of them first.

    Args:
        rows: length of the runs.
    """
    best: dict[int, tuple[float, TileShape]] = {}
    for tile in candidates(product.problem.target, rows, -(-product.channels // product.problem.target.lanes)):
        time = _nanoseconds(product, tile)
        if tile.vectors <= MAX_PANEL_VECTORS and time < best.get(tile.vectors, (float("inf"), tile))[0]:
            best[tile.vectors] = time, tile
    return [tile for _, tile in sorted(best.values(), key=lambda found: found[0])]


def _best_columns(chain: Chain, expand: TileShape | None, vectors: int) -> int | None:
    """The best number of columns of a depthwise tile; None when no tile fits."""
    most = (chain.problem.target.registers - 1) // vectors - chain.op.window.kernel[1] - 1
    found = []
    for columns in range(1, max(1, min(most, chain.y.shape[3], MAX_COLUMNS)) + 1):
        tiling = Tiling(1, expand, columns, vectors, None)
        if len(chain.tiles(columns)) <= MAX_VARIANTS:
            found.append((_depthwise_cycles(chain, tiling), columns))
    return min(found)[1] if found else None


def _depthwise_cycles(chain: Chain, tiling: Tiling) -> float:
    """Cycles of the whole depthwise convolution on data in the first-level cache."""
    if tiling.lines:
        return _tile_cycles(chain, tiling.lines, tiling.columns)
    window = chain.op.window
    batch, channels, height, _ = chain.y.shape
    kh, kw = window.kernel
    core, vectors, cycles = chain.problem.target.core, tiling.vectors, 0.0
    for c in chain.tiles(tiling.columns):
        products = sum(map(len, c.taps)) * vectors
        loads = ((c.rows - 1) * window.strides[1] + kw + kw) * vectors
        kernel_row = max(products / core.fma_per_cycle, loads / core.loads_per_cycle, kw * core.fma_latency)
        results = c.rows * vectors * (1 + len(chain.depthwise.region.nodes)) / 2
        cycles += c.tiles * (kh * kernel_row + results + TILE_CYCLES)
    return cycles * -(-channels // (vectors * chain.lanes)) * height * batch


@lru_cache(maxsize=1024)
def _tile_cycles(chain: Chain, lines: int, columns: int) -> float:
    """The same in two-dimensional tiles; without expansion with the way of the input from the outer caches."""
    operators, across = len(chain.depthwise.region.nodes), chain.tiles(columns)
    x_bytes = 0 if chain.expand else FLOAT_BYTES * chain.x.size
    cycles = 0.0
    for rows in chain.lines(lines):
        for cols in across:
            sums = WindowSums(chain.op.window, rows, cols, 1, chain.lanes)
            cycles += rows.tiles * cols.tiles * sums.cycles(chain.problem.target, x_bytes, operators)
    far = x_bytes / chain.problem.target.core.far_bytes_per_cycle
    return cycles * -(-chain.channels // chain.lanes) * chain.y.shape[0] + far


def _near_bytes(chain: Chain, tiling: Tiling) -> float:
    """Bytes between the first- and the second-level cache: rows and results come, go and are read again."""
    batch, channels, height, width = chain.y.shape
    window = chain.op.window
    total = 0.0
    if tiling.expand:
        shared = max(0, chain.ring_rows(tiling.rows) - tiling.rows * window.strides[0])
        blocks = -(-height // tiling.rows)
        total += channels * chain.x.shape[3] * (2 * chain.x.shape[2] + blocks * shared)
    if tiling.project:
        total += 3 * channels * height * width
    return 4.0 * batch * total
