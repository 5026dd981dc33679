"""Winograd convolution: F(m x m, r x r) over blocks of tiles whose transformed data stays in cache.

A. Lavin, S. Gray, "Fast algorithms for convolutional neural networks", CVPR 2016.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import ClassVar

import numpy as np

from edgesmith.ir import Graph, Node
from edgesmith.kernels.base import Code, Kernel, Problem, Reject, Schedule, kernel
from edgesmith.kernels.conv.direct import conv2d_reject
from edgesmith.kernels.conv.winograd_code import WinogradCode
from edgesmith.kernels.conv.winograd_cost import nanoseconds
from edgesmith.kernels.conv.winograd_rounding import rounding_bound
from edgesmith.kernels.conv.winograd_tiling import Tiling
from edgesmith.kernels.conv.winograd_transform import transform
from edgesmith.kernels.epilogue import Epilogue
from edgesmith.kernels.region import Region, epilogue_chains
from edgesmith.kernels.tile import TileShape, candidates
from edgesmith.ops.conv import Conv
from edgesmith.ops.window import Window

OUTPUTS: dict[int, dict[int, tuple[int, ...]]] = {
    1: {1: (1,), 2: (3, 5), 3: (2, 4, 6), 4: (3, 5), 5: (2, 4), 7: (2,)},
    2: {3: (2, 4), 5: (2, 4), 7: (2, 4)},
}
"""Outputs m of the forms F(m, r) worth trying, by the stride and the number of taps r."""

BLOCKS = (6, 9, 12, 16, 24, 36, 48)
"""Tiles of a block, at most."""
CHUNKS = (4, 8, 16, 32)
"""Vectors of a chunk of output channels."""
MAX_DEPTH = 512
REGISTER_SHARE = 0.7
"""Of the registers that the sums of a register tile hold, at least."""
MAX_VECTORS = 4
MOST_SCHEDULES = 24


@kernel
class Winograd(Kernel):
    """Strides 1 and 2, channels innermost in the output, and in the input unless they fit into a vector."""

    name: ClassVar[str] = "winograd"

    def regions(self, graph: Graph, anchor: Node) -> Iterator[Region]:
        if isinstance(anchor.op, Conv):
            yield from epilogue_chains(graph, anchor)

    def accepts(self, problem: Problem) -> Reject | None:
        reject = conv2d_reject(problem)
        if reject is not None:
            return reject
        op = problem.anchor.op
        assert isinstance(op, Conv)
        window = op.window
        if not all(_outputs(window)) or max(window.kernel) == 1:
            kernel, strides = ("x".join(map(str, v)) for v in (window.kernel, window.strides))
            return Reject(f"{kernel} kernel at stride {strides}; there are forms for {_known()}")
        if set(window.dilations) != {1}:
            return Reject(f"dilation {'x'.join(map(str, window.dilations))}; F(m, r) needs dilation 1")
        if op.group != 1:
            return Reject(f"{op.group} groups, needs 1")
        view = problem.view(problem.anchor.inputs[0])
        if view.strides[1] != 1 and view.shape[1] > problem.target.lanes:
            return Reject(f"{view.shape[1]} input channels with stride {view.strides[1]}; vectors need stride 1")
        epilogue = Epilogue(problem)
        return Reject(epilogue.reject) if epilogue.reject else None

    def schedules(self, problem: Problem) -> Sequence[Schedule]:
        op = problem.anchor.op
        assert isinstance(op, Conv)
        channels = problem.type(problem.anchor.inputs[0]).shape[1]
        forms = [tuple(m) for m in product(*_outputs(op.window))]
        found = []
        for (height, width), tile, block, chunk in product(forms, _register_tiles(problem), BLOCKS, CHUNKS):
            schedule = {
                "height": height,
                "width": width,
                "tiles": block,
                "rows": tile.rows,
                "vectors": tile.vectors,
                "panels": max(1, chunk // tile.vectors),
                "depth": min(channels, MAX_DEPTH),
                "prepared": 1,
            }
            t = Tiling(problem, schedule)
            schedule["tiles"] = -(-t.tiles // t.blocks)
            schedule["panels"] = t.chunk_panels
            schedule["rows"] = _even(schedule["tiles"], tile.rows)
            found += [schedule, {**schedule, "prepared": 0}] if t.blocks == 1 else [schedule]
        unique = {tuple(s.values()): s for s in found}.values()
        return sorted(unique, key=lambda s: self.cost(problem, s))[:MOST_SCHEDULES]

    def cost(self, problem: Problem, schedule: Schedule) -> float:
        return nanoseconds(Tiling(problem, schedule))

    def in_place(self, problem: Problem) -> tuple[str, ...]:
        return Epilogue(problem).in_place(problem)

    def emit(self, problem: Problem, schedule: Schedule) -> Code:
        node, constants = problem.anchor, problem.graph.constants
        tiling = Tiling(problem, schedule)
        bias = constants[node.inputs[2]] if len(node.inputs) > 2 and node.inputs[2] else np.zeros(1, np.float32)
        return WinogradCode(tiling, Epilogue(problem), constants[node.inputs[1]], bias).code()

    def rounding(self, node: Node, operands: Sequence[np.ndarray | None], schedule: Schedule) -> np.ndarray:
        op = node.op
        assert isinstance(op, Conv) and operands[0] is not None and operands[1] is not None
        (taps_down, taps_across), (down, across) = op.window.kernel, op.window.strides
        forms = (transform(schedule["height"], taps_down, down), transform(schedule["width"], taps_across, across))
        shape = (operands[0].shape[0], operands[1].shape[0], *op.window.output(operands[0].shape[2:], node.name))
        return rounding_bound(op.window, forms, operands, shape)


def _outputs(window: Window) -> list[tuple[int, ...]]:
    """For each axis the forms to try."""
    return [OUTPUTS.get(s, {}).get(k, ()) for k, s in zip(window.kernel, window.strides, strict=True)]


def _known() -> str:
    return " and ".join(f"{', '.join(map(str, taps))} taps at stride {stride}" for stride, taps in OUTPUTS.items())


def _even(tiles: int, most: int) -> int:
    """Rows of register tiles that cut ``tiles`` into as few parts as ``most`` would, and as equal ones as possible."""
    return -(-tiles // -(-tiles // most))


def _register_tiles(problem: Problem) -> list[TileShape]:
    """The tiles that use the registers well and load least for each multiplication, a few."""
    target = problem.target
    vectors = min(MAX_VECTORS, -(-problem.type(problem.anchor.outputs[0]).shape[1] // target.lanes))
    shapes = candidates(target, target.registers, vectors)
    least = min(REGISTER_SHARE * target.registers, max(s.rows * s.vectors for s in shapes))
    fit = [s for s in shapes if s.rows * s.vectors >= least]
    best = {
        v: max((s for s in fit if s.vectors == v), key=lambda s: s.rows, default=None) for v in range(1, vectors + 1)
    }
    found = [s for s in best.values() if s is not None]
    return sorted(found, key=lambda s: (s.rows + s.vectors) / (s.rows * s.vectors))[:2]
