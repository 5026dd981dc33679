"""What kernels of depthwise convolutions of integers have in common."""

from __future__ import annotations

from collections.abc import Iterator

from edgesmith.ir import Graph, Node
from edgesmith.kernels.base import Kernel
from edgesmith.kernels.integer.window import IntegerWindow
from edgesmith.kernels.region import Region, epilogue_chains
from edgesmith.ops.integer_products import ConvInteger

__all__ = ["DepthwiseKernel"]


class DepthwiseKernel(Kernel):
    """A filter for each channel, and the elementwise operators after it."""

    def regions(self, graph: Graph, anchor: Node) -> Iterator[Region]:
        if isinstance(anchor.op, ConvInteger) and anchor.op.group > 1:
            yield from epilogue_chains(graph, anchor)

    @staticmethod
    def refusal(window: IntegerWindow) -> str | None:
        """Why no such kernel computes it."""
        if window.reject is not None:
            return window.reject
        if window.group != window.channels or window.x.shape[3] != window.channels:
            return f"{window.group} groups of {window.x.shape[3]} channels, {window.channels} filters"
        return "lines are dilated" if window.dilations[0] != 1 else None
