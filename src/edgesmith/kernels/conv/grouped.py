"""Grouped convolution whose groups share vectors, as in ResNeXt: at most as many channels a group as vector lanes."""

from __future__ import annotations

from typing import ClassVar

from edgesmith.kernels.base import Problem, Reject, kernel
from edgesmith.kernels.conv.window_tile import WindowTileKernel
from edgesmith.ops.conv import Conv


@kernel
class Grouped(WindowTileKernel):
    """Several channels a group, which divide the lanes of a vector, windows of a few taps."""

    name: ClassVar[str] = "grouped"

    def accepts(self, problem: Problem) -> Reject | None:
        op = problem.anchor.op
        if isinstance(op, Conv) and op.group == problem.type(problem.anchor.inputs[0]).shape[1]:
            return Reject("one channel a group; the depthwise kernels are made for that")
        return super().accepts(problem)
