"""Inverted residual: expand, depthwise, project (Sandler et al., arXiv:1801.04381, section 3.3)."""

from __future__ import annotations

from typing import ClassVar

from edgesmith.kernels.base import kernel
from edgesmith.kernels.conv.chain import Pattern
from edgesmith.kernels.conv.chain_kernel import ChainKernel


@kernel
class InvertedResidual(ChainKernel):
    """1x1, depthwise and 1x1 convolution, the last one with the addition of the residual."""

    name: ClassVar[str] = "inverted-residual"
    pattern: ClassVar[Pattern] = Pattern(expands=True, projects=True)
