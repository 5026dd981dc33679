"""The first half of an inverted residual, where squeeze-and-excitation parts it from the second."""

from __future__ import annotations

from typing import ClassVar

from edgesmith.kernels.base import kernel
from edgesmith.kernels.conv.chain import Pattern
from edgesmith.kernels.conv.chain_kernel import ChainKernel


@kernel
class ExpandDepthwise(ChainKernel):
    """1x1 and depthwise convolution."""

    name: ClassVar[str] = "expand-depthwise"
    pattern: ClassVar[Pattern] = Pattern(expands=True, projects=False)
