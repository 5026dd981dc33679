"""Depthwise separable convolution: depthwise, then pointwise (Howard et al., arXiv:1704.04861, section 3.1)."""

from __future__ import annotations

from typing import ClassVar

from edgesmith.kernels.base import kernel
from edgesmith.kernels.conv.chain import Pattern
from edgesmith.kernels.conv.chain_kernel import ChainKernel


@kernel
class Separable(ChainKernel):
    """Depthwise and 1x1 convolution."""

    name: ClassVar[str] = "separable"
    pattern: ClassVar[Pattern] = Pattern(expands=False, projects=True)
