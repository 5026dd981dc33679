"""A scale that training moves, as a factor on where it started."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgesmith.compress.qat.rounding import scaled_gradient

__all__ = ["LEAST_FACTOR", "factor_like", "learned_scale"]

LEAST_FACTOR = 2.0**-6
"""Of the start: a scale never gets smaller."""


def factor_like(start: Tensor) -> nn.Parameter:
    """The parameter to train: 1 for each scale, so that its learning rate means a relative change."""
    return nn.Parameter(torch.ones_like(start))


def learned_scale(start: Tensor, factor: Tensor, gain: float) -> Tensor:
    """``start * factor``.

    The factor's gradient is ``gain / start`` times that of the scale, so that steps of gradient descent move the scale
    as if it were the parameter itself, with its gradient times ``gain``; optimisers that normalise gradients (Adam)
    change it by the same share whatever its size.
    """
    if torch.is_grad_enabled() and factor.requires_grad:
        base = start.detach()
        factor = scaled_gradient(factor, gain / base.square().clamp_min(torch.finfo(base.dtype).tiny))
    return start * factor.clamp_min(LEAST_FACTOR)
