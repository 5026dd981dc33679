"""Winograd convolution: F(m x m, r x r) over blocks of tiles whose transformed data stays in cache.

A. Lavin, S. Gray, "Fast algorithms for convolutional neural networks", CVPR 2016.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np

from edgesmith.ir import Graph, Node
from edgesmith.kernels.base import Code, Kernel, Problem, Reject, Schedule, kernel
from edgesmith.kernels.conv.direct import conv2d_reject
from edgesmith.kernels.conv.winograd_code import WinogradCode
from edgesmith.kernels.conv.winograd_rounding import rounding_bound
from edgesmith.kernels.conv.winograd_tiling import Tiling
from edgesmith.kernels.conv.winograd_transform import transform
from edgesmith.kernels.epilogue import Epilogue
from edgesmith.kernels.region import Region, epilogue_chains
from edgesmith.kernels.tile import GIGAHERTZ, candidates
from edgesmith.ops.conv import Conv

OUTPUTS = {1: (1,), 2: (3, 5), 3: (2, 4, 6), 4: (3, 5), 5: (2, 4), 7: (2,)}
"""Outputs m of the forms F(m, r) worth trying, by the number of taps r."""


@kernel
class Winograd(Kernel):
    """Stride 1, channels innermost in input and output."""

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
        if any(k not in OUTPUTS for k in window.kernel) or max(window.kernel) == 1:
            return Reject(f"{'x'.join(map(str, window.kernel))} kernel; there are forms for 2 to 5 and 7 taps")
        if set(window.strides) != {1}:
            return Reject(f"stride {'x'.join(map(str, window.strides))}; F(m, r) needs stride 1")
        if set(window.dilations) != {1}:
            return Reject(f"dilation {'x'.join(map(str, window.dilations))}; F(m, r) needs dilation 1")
        if op.group != 1:
            return Reject(f"{op.group} groups, needs 1")
        view = problem.view(problem.anchor.inputs[0])
        if view.strides[1] != 1 and view.shape[1] > 1:
            return Reject(f"input channels have stride {view.strides[1]}, vectors need 1")
        epilogue = Epilogue(problem)
        return Reject(epilogue.reject) if epilogue.reject else None

    def schedules(self, problem: Problem) -> Sequence[Schedule]:
        op = problem.anchor.op
        assert isinstance(op, Conv)
        channels = problem.type(problem.anchor.inputs[0]).shape[1]
        found = []
        for height in OUTPUTS[op.window.kernel[0]]:
            for width in OUTPUTS[op.window.kernel[1]]:
                if op.window.kernel[0] == op.window.kernel[1] and height != width:
                    continue
                for tile in candidates(problem.target, 14, 3):
                    if tile.rows * tile.vectors == 12 and tile.vectors > 1:
                        for tiles in (24, 36, 48):
                            for panels in (1, 2, 4, 64):
                                found.append(
                                    {
                                        "height": height,
                                        "width": width,
                                        "tiles": tiles,
                                        "rows": tile.rows,
                                        "vectors": tile.vectors,
                                        "panels": panels,
                                        "depth": channels,
                                        "prepared": 1,
                                    }
                                )
        return found

    def cost(self, problem: Problem, schedule: Schedule) -> float:
        t = Tiling(problem, schedule)
        return 100 + t.tiles * t.positions * t.in_channels * t.padded_out / (2 * t.lanes) / GIGAHERTZ

    def in_place(self, problem: Problem) -> tuple[str, ...]:
        return Epilogue(problem).in_place(problem)

    def emit(self, problem: Problem, schedule: Schedule) -> Code:
        return WinogradCode(Tiling(problem, schedule)).code()

    def rounding(self, node: Node, operands: Sequence[np.ndarray | None], schedule: Schedule) -> np.ndarray:
        op = node.op
        assert isinstance(op, Conv) and operands[0] is not None and operands[1] is not None
        kernel = op.window.kernel
        forms = (transform(schedule["height"], kernel[0]), transform(schedule["width"], kernel[1]))
        shape = (operands[0].shape[0], operands[1].shape[0], *op.window.output(operands[0].shape[2:], node.name))
        return rounding_bound(op.window, forms, operands, shape)
