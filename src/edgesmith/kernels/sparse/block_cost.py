"""How a product over lists of blocks is cut, and what it takes."""

from __future__ import annotations

from collections.abc import Iterator
from math import gcd, prod

from edgesmith.kernels.base import Schedule
from edgesmith.kernels.cycles import FLOAT_BYTES, LINE_BYTES, far_cycles, l1_ways, memory_ns
from edgesmith.kernels.gemm.blocking import Blocking
from edgesmith.kernels.gemm.row_tiles import RowTiles
from edgesmith.kernels.sparse.pattern import SparseProduct
from edgesmith.kernels.tile import TileShape
from edgesmith.target import Target

__all__ = ["STEP_NS", "blockings", "chains", "nanoseconds"]

STEP_NS = 60.0
TARGET_TASKS = 32
TILES_KEPT = 6
LEAST_SUMS = 8
"""Sums side by side, so that additions do not wait for one another."""
MOST_CHAINS = 4
MOST_VECTORS = 4
SPARE_REGISTERS = 2
"""With fewer of them, compilers spill sums."""
TILE_CYCLES = 14.0
STORE_CYCLES = 1.2
LIST_CYCLES = 0.25
"""Of a step, for its place in the list."""
ISSUE_SHARE = 0.06
"""Part of the time of loads that does not hide behind multiply-adds."""
CONFLICT_CYCLES = 2.7
PACK_CYCLES, GATHER_CYCLES = 2.5, 1.5
TASK_CYCLES = 60.0
FAR_SHARE = 0.5


def chains(target: Target, rows: int, vectors: int) -> int:
    """Sums of each output of a tile; more than one where additions would wait for one another."""
    many = 1
    while rows * vectors * many < LEAST_SUMS and many < MOST_CHAINS:
        if rows * vectors * many * 2 + min(rows, vectors) + 1 >= target.registers:
            break
        many *= 2
    return many


def _step_cycles(target: Target, tile: TileShape) -> float:
    core = target.core
    multiply = tile.rows * tile.vectors / core.fma_per_cycle
    load = (tile.rows + tile.vectors) / core.loads_per_cycle
    wait = core.fma_latency / chains(target, tile.rows, tile.vectors)
    return max(multiply, load, wait) + ISSUE_SHARE * load + LIST_CYCLES


def nanoseconds(sparse: SparseProduct, schedule: Schedule) -> float:
    """Predicted time on one core: arithmetic or the weights' way from memory, whichever binds."""
    p, b = sparse.product, Blocking.of(schedule)
    target, tile, e = p.problem.target, b.tile, p.extents
    panels, counts = sparse.panels(tile.vectors), sparse.counts(tile.vectors)
    rows = RowTiles.of(p.rows, tile.rows)
    row_blocks, groups = -(-rows.count // b.tiles), -(-panels.count // b.panels)
    block_bytes = min(b.tiles * rows.height, p.rows) * p.steps * FLOAT_BYTES
    near = 0.75 * target.l1_bytes
    conflicts = 0.0 if b.packed else _beyond_ways(sparse, tile) * CONFLICT_CYCLES
    cycles = 0.0
    for i, (vectors, _) in enumerate(panels.variants()):
        blocks = counts[: panels.full] if i == 0 and panels.full else counts[panels.full :]
        block = vectors * target.lanes * FLOAT_BYTES
        for height, number in rows.heights:
            mean = float(blocks.mean())
            from_l2 = block if mean * block + height * p.steps * FLOAT_BYTES > near else 0
            step = max(_step_cycles(target, TileShape(height, vectors)), from_l2 / target.core.l2_bytes_per_cycle)
            ends = TILE_CYCLES + STORE_CYCLES * height * vectors
            if block_bytes > near:
                # The rows come from the second-level cache for every panel, whole lines of them.
                lines = min(p.steps, mean * LINE_BYTES / FLOAT_BYTES) * FLOAT_BYTES
                ends += 0.5 * height * lines / target.core.l2_bytes_per_cycle
            cycles += number * (float(blocks.sum()) * (step + conflicts) + len(blocks) * ends)
    weight_bytes = float((counts * panels.vectors).sum()) * target.lanes * FLOAT_BYTES
    if b.packed:
        unit = e.step_stride == 1
        copied = p.rows * p.steps / (target.lanes if unit else 1)
        cycles += groups * copied * (PACK_CYCLES if unit else GATHER_CYCLES)
    if weight_bytes + block_bytes > 0.75 * target.l2_bytes:
        cycles += FAR_SHARE * far_cycles(target.l2_bytes + int((row_blocks - 1) * weight_bytes), target)
    cycles += row_blocks * groups * TASK_CYCLES
    cycles *= prod(p.slices)
    compute = cycles / target.gigahertz
    memory = memory_ns(weight_bytes, target, 1 if p.rows <= tile.rows else 4)
    return max(compute, memory) + 0.2 * min(compute, memory)


def _beyond_ways(sparse: SparseProduct, tile: TileShape) -> int:
    """Lines of a tile's rows, weights and list that find no place of their own in the first-level cache."""
    e, target = sparse.product.extents, sparse.product.problem.target
    if tile.rows == 1 or e.row_stride is None:
        return 0
    ways = l1_ways(target)
    sets = max(target.l1_bytes // (LINE_BYTES * ways), 1)
    distinct = sets // gcd(max(e.row_stride * FLOAT_BYTES // LINE_BYTES, 1), sets)
    return max(0, tile.rows + 2 - ways * distinct)


def blockings(sparse: SparseProduct) -> Iterator[Schedule]:
    """The schedules worth considering: tiles with the best predictions, each cut in a few ways."""
    p = sparse.product
    target, registers = p.problem.target, p.problem.target.registers
    widest = min(-(-p.channels // target.lanes), MOST_VECTORS)
    shapes = [TileShape(r, v) for v in range(1, widest + 1) for r in range(1, min(registers, p.rows) + 1)]
    fitting = [
        t for t in shapes if t.registers + SPARE_REGISTERS < registers and RowTiles.of(p.rows, t.rows).height == t.rows
    ]
    best: list[tuple[float, TileShape, list[Schedule]]] = []
    for tile in fitting:
        ways = _ways(sparse, tile)
        best.append((min(nanoseconds(sparse, s) for s in ways), tile, ways))
    best.sort(key=lambda found: (found[0], found[1].vectors, -found[1].rows))
    kept = best[:TILES_KEPT]
    narrow = next(found for found in best if found[1].vectors == 1)
    for _, _, ways in kept if narrow in kept else [*kept, narrow]:
        yield from ways


def _ways(sparse: SparseProduct, tile: TileShape) -> list[Schedule]:
    """As many rows in a block as the first-level or the second-level cache holds; all panels, or shares of them."""
    p = sparse.product
    target, e = p.problem.target, p.extents
    tiles, panels = -(-p.rows // tile.rows), sparse.panels(tile.vectors)
    row_bytes = max(p.steps, 1) * tile.rows * FLOAT_BYTES
    wanted = max(1, -(-tiles * prod(p.slices) // TARGET_TASKS))
    near = max(1, target.l1_bytes // 2 // (row_bytes + tile.rows * p.channels * FLOAT_BYTES))
    fits = max(1, target.l2_bytes // 4 // row_bytes)
    weight_bytes = int((sparse.counts(tile.vectors) * tile.vectors).sum()) * target.lanes * FLOAT_BYTES
    cuts = [(min(fits, wanted, tiles), panels.count), (min(near, wanted, tiles), panels.count)]
    if weight_bytes > target.l2_bytes // 2:
        shared = max(1, int(panels.count * (target.l2_bytes // 2) / weight_bytes))
        cuts = [(tiles, 1), (min(fits, tiles), shared), cuts[0]]
    copies = [True] if e.row_stride is None else [False, True] if _beyond_ways(sparse, tile) else [False]
    found = [Blocking(tile, max(p.steps, 1), t, n, packed) for t, n in dict.fromkeys(cuts) for packed in copies]
    return [b.schedule for b in found]
