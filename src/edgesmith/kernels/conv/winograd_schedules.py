"""Schedules of Winograd convolutions: forms, register tiles, blocks and chunks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product

from edgesmith.kernels.base import Problem, Schedule
from edgesmith.kernels.conv.winograd_cost import nanoseconds
from edgesmith.kernels.conv.winograd_tiling import Tiling
from edgesmith.kernels.lane_loop import LaneLoop
from edgesmith.kernels.tile import FLOATS, Products, TileShape, candidates, cycles_per_step
from edgesmith.ops.window import Window

__all__ = ["Outputs", "outputs_of", "winograd_schedules"]

Outputs = Mapping[int, Mapping[int, Sequence[int]]]
"""Outputs m of the forms F(m, r) worth trying, by the stride and the number of taps r."""

BLOCKS = (6, 9, 12, 16, 24, 36, 48)
"""Tiles of a block, at most."""
CHUNKS = (4, 8, 16, 32)
"""Vectors of a chunk of output channels."""
MAX_DEPTH = 512
REGISTER_SHARE = 0.7
"""Of the registers that the sums of a register tile hold, at least."""
MAX_VECTORS = 4
LONG = 64
"""Steps of a sum that is long enough for any loop."""
TILES_BY_LANE = 3
MOST_SCHEDULES = 24


def outputs_of(window: Window, known: Outputs) -> list[tuple[int, int]]:
    """Outputs of a tile, (height, width), for which both axes have a form."""
    none: Mapping[int, Sequence[int]] = {}
    height, width = (known.get(s, none).get(k, ()) for k, s in zip(window.kernel, window.strides, strict=True))
    return list(product(height, width))


def winograd_schedules(
    problem: Problem, forms: Sequence[tuple[int, int]], tiling: Callable[[Schedule], Tiling]
) -> Sequence[Schedule]:
    """Those of the least predicted time.

    Args:
        forms: outputs of a tile, (height, width).
        tiling: of a schedule.
    """
    probe = tiling(_schedule(forms[0], TileShape(1, 1), 1, 1, 1))
    found = []
    tiles = _register_tiles(problem, probe.numbers.products)
    for form, tile, block, chunk in product(forms, tiles, BLOCKS, CHUNKS):
        schedule = _schedule(form, tile, block, max(1, chunk // tile.vectors), min(probe.summed, MAX_DEPTH))
        t = tiling(schedule)
        schedule["tiles"] = -(-t.tiles // t.blocks)
        schedule["panels"] = t.chunk_panels
        schedule["rows"] = _even(schedule["tiles"], tile.rows)
        found += [schedule, {**schedule, "prepared": 0}] if t.blocks == 1 else [schedule]
    unique = {tuple(s.values()): s for s in found}.values()
    return sorted(unique, key=lambda s: nanoseconds(tiling(s)))[:MOST_SCHEDULES]


def _schedule(form: tuple[int, int], tile: TileShape, block: int, panels: int, depth: int) -> dict[str, int]:
    height, width = form
    return {
        "height": height,
        "width": width,
        "tiles": block,
        "rows": tile.rows,
        "vectors": tile.vectors,
        "panels": panels,
        "depth": depth,
        "prepared": 1,
    }


def _even(tiles: int, most: int) -> int:
    """Rows of register tiles that cut ``tiles`` into as few parts as ``most`` would, and as equal ones as possible."""
    return -(-tiles // -(-tiles // most))


def _register_tiles(problem: Problem, products: Products) -> list[TileShape]:
    """The tiles that use the registers well and load least for each multiplication, a few."""
    target = problem.target
    vectors = min(MAX_VECTORS, -(-problem.type(problem.anchor.outputs[0]).shape[1] // target.lanes))
    shapes = candidates(target, target.registers, vectors)
    if products is FLOATS and all(LaneLoop.of(target, s.rows, [s.vectors], LONG) for s in shapes):
        return sorted(shapes, key=lambda s: cycles_per_step(target, s) / (s.rows * s.vectors))[:TILES_BY_LANE]
    shapes = [s for s in shapes if s.registers + products.registers < target.registers]
    least = min(REGISTER_SHARE * target.registers, max(s.rows * s.vectors for s in shapes))
    fit = [s for s in shapes if s.rows * s.vectors >= least]
    best = {
        v: max((s for s in fit if s.vectors == v), key=lambda s: s.rows, default=None) for v in range(1, vectors + 1)
    }
    found = [s for s in best.values() if s is not None]
    return sorted(found, key=lambda s: (s.rows + s.vectors) / (s.rows * s.vectors))[:2]
