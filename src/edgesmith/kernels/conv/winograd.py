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
from edgesmith.kernels.conv.winograd_cost import nanoseconds
from edgesmith.kernels.conv.winograd_rounding import rounding_bound
from edgesmith.kernels.conv.winograd_schedules import Outputs, outputs_of, winograd_schedules
from edgesmith.kernels.conv.winograd_tiling import Tiling
from edgesmith.kernels.conv.winograd_transform import transform
from edgesmith.kernels.epilogue import Epilogue
from edgesmith.kernels.region import Region, epilogue_chains
from edgesmith.ops.conv import Conv

OUTPUTS: Outputs = {
    1: {1: (1,), 2: (3, 5), 3: (2, 4, 6), 4: (3, 5), 5: (2, 4), 7: (2,)},
    2: {3: (2, 4), 5: (2, 4), 7: (2, 4)},
}


@kernel
class Winograd(Kernel):
    """Strides 1 and 2, channels innermost in the output, and in the input unless they fit into a vector."""

    name: ClassVar[str] = "winograd"
    always_prepares: ClassVar[bool] = True

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
        if not outputs_of(window, OUTPUTS) or max(window.kernel) == 1:
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
        forms = outputs_of(op.window, OUTPUTS)
        return winograd_schedules(problem, forms, lambda schedule: Tiling(problem, schedule))

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


def _known() -> str:
    return " and ".join(f"{', '.join(map(str, taps))} taps at stride {stride}" for stride, taps in OUTPUTS.items())
