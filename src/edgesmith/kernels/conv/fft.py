"""FFT convolution: tiles of the input and the kernel are multiplied as spectra; its work hardly grows with the kernel.

Overlap-save with real transforms in two dimensions (Mathieu, Henaff and LeCun, "Fast training of convolutional networks
through FFTs", 2014; tiles as in Zlateski, Jia, Li and Durand, "FFT convolutions are faster than Winograd on modern
CPUs, here is why", 2018). At every frequency the spectra of all channels are combined by one small complex matrix
product over tiles, input and output channels; depthwise, element by element.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np

from edgesmith.ir import Graph, Node
from edgesmith.kernels.base import Code, Kernel, Problem, Reject, Schedule, kernel
from edgesmith.kernels.conv.convolution import Convolution, reject
from edgesmith.kernels.conv.fft_code import FftCode
from edgesmith.kernels.conv.fft_tiling import SIZES, Axis, axes, rounding_bound
from edgesmith.kernels.epilogue import Epilogue
from edgesmith.kernels.region import Region, epilogue_chains
from edgesmith.ops.conv import Conv

SMALLEST_KERNEL = 5
SCHEDULES = 6


@kernel
class FftConv(Kernel):
    """2-D convolution of stride 1, dense or depthwise, channels innermost."""

    name: ClassVar[str] = "fft"
    always_prepares: ClassVar[bool] = True

    def regions(self, graph: Graph, anchor: Node) -> Iterator[Region]:
        if isinstance(anchor.op, Conv):
            yield from epilogue_chains(graph, anchor)

    def accepts(self, problem: Problem) -> Reject | None:
        reason = reject(problem)
        if reason is not None:
            return reason
        c = Convolution(problem)
        if c.window.strides != (1, 1):
            return Reject(f"strides {c.window.strides}, would compute outputs of stride 1 and drop most")
        if c.taps < SMALLEST_KERNEL**2:
            kernel = "x".join(map(str, c.window.kernel))
            return Reject(f"{kernel} kernel, pays from {SMALLEST_KERNEL}x{SMALLEST_KERNEL}")
        if c.group > 1 and not c.group == c.x.shape[1] == c.y.shape[1]:
            return Reject(f"{c.group} groups, needs one, or one a channel with one filter each")
        if c.x.strides[1] != 1 and c.x.shape[1] > 1:
            return Reject(f"input channels have stride {c.x.strides[1]}, vectors need 1")
        for axis, before, after in zip(
            self._axes(c, SIZES[-1:] * 2), c.window.pads_begin, c.window.pads_end, strict=True
        ):
            if max(before, after) >= axis.span:
                return Reject(f"pads of {before} and {after}, as wide as the kernel")
            if not axis.tiles:
                return Reject(f"the kernel spans {axis.span} pixels, transforms have at most {SIZES[-1]}")
        return None

    def schedules(self, problem: Problem) -> Sequence[Schedule]:
        """The sizes of the transforms that are predicted to do least work."""
        c = Convolution(problem)
        found: list[Schedule] = [{"height": h, "width": w} for h in self._sizes(c, 0) for w in self._sizes(c, 1)]
        return sorted(found, key=lambda s: self.cost(problem, s))[:SCHEDULES]

    def _sizes(self, c: Convolution, axis: int) -> list[int]:
        """Sizes with tiles; of those that take the whole axis, the smallest."""
        found = []
        for size in SIZES:
            candidate = self._axes(c, (size, size))[axis]
            if candidate.tiles:
                found.append(size)
            if candidate.whole:
                break
        return found

    @staticmethod
    def _axes(c: Convolution, sizes: Sequence[int]) -> tuple[Axis, Axis]:
        return axes(c.window, c.x.shape, c.y.shape, sizes)

    def _code(self, problem: Problem, schedule: Schedule) -> FftCode:
        return FftCode(problem, *self._axes(Convolution(problem), (schedule["height"], schedule["width"])))

    def cost(self, problem: Problem, schedule: Schedule) -> float:
        return self._code(problem, schedule).cycles() / problem.target.gigahertz + 200

    def emit(self, problem: Problem, schedule: Schedule) -> Code:
        return self._code(problem, schedule).code()

    def in_place(self, problem: Problem) -> tuple[str, ...]:
        return Epilogue(problem).in_place(problem)

    def rounding(self, node: Node, operands: Sequence[np.ndarray | None], schedule: Schedule) -> np.ndarray | None:
        assert isinstance(node.op, Conv)
        x, weights, bias = (*operands, None)[:3]
        assert x is not None and weights is not None
        outputs = (x.shape[0], weights.shape[0], *node.op.window.output(x.shape[2:], node.name))
        height, width = axes(node.op.window, x.shape, outputs, (schedule["height"], schedule["width"]))
        return rounding_bound(height, width, x, weights, bias, node.op.group > 1)
