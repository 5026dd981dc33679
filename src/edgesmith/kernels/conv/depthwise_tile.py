"""Depthwise convolution in two-dimensional register tiles: one channel a group."""

from __future__ import annotations

from typing import ClassVar

from edgesmith.kernels.base import Problem, Reject, kernel
from edgesmith.kernels.conv.window_tile import WindowTileKernel
from edgesmith.ops.conv import Conv


@kernel
class DepthwiseTile(WindowTileKernel):
    """One filter a channel, windows of a few taps."""

    name: ClassVar[str] = "depthwise-tile"

    def accepts(self, problem: Problem) -> Reject | None:
        op = problem.anchor.op
        if isinstance(op, Conv) and op.group != problem.type(problem.anchor.inputs[0]).shape[1]:
            return Reject("several channels a group; the grouped kernel is made for that")
        return super().accepts(problem)
