"""A scale that training moves, as a factor on where it started."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["LARGEST_GRADIENT", "LEAST_FACTOR", "factor_like", "learned_scale"]

LEAST_FACTOR = 2.0**-6
"""Of the start: a scale never gets smaller."""
LARGEST_GRADIENT = 1.0
"""Of a factor: without momentum, plain gradient descent changes a scale at most by its learning rate's share in a step.
Gradients of a network that works are mostly smaller; those of one that binary weights have broken are not, and one step
by them leaves a scale that represents nothing."""


def factor_like(start: Tensor) -> nn.Parameter:
    """The parameter to train: 1 for each scale, so that its learning rate means a relative change."""
    return nn.Parameter(torch.ones_like(start))


def learned_scale(start: Tensor, factor: Tensor, gain: float) -> Tensor:
    """``start * factor``.

    The factor's gradient is ``gain / start`` times that of the scale, so that steps of gradient descent move the scale
    as if it were the parameter itself, with its gradient times ``gain``, up to ``LARGEST_GRADIENT``; optimisers that
    normalise gradients (Adam) change it by the same share whatever its size.
    """
    base = start.detach()
    moved: Tensor = _Factor.apply(factor, gain / base.square().clamp_min(torch.finfo(base.dtype).tiny))  # type: ignore[no-untyped-call]
    return start * moved


class _Factor(torch.autograd.Function):
    """At least ``LEAST_FACTOR``; below it, what would lead farther away has no gradient, what leads back has."""

    @staticmethod
    def forward(ctx: Any, factor: Tensor, gain: Tensor) -> Tensor:
        ctx.save_for_backward(factor, gain)
        return factor.clamp_min(LEAST_FACTOR)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (g,) = gradients
        factor, gain = ctx.saved_tensors
        g = (g * gain).clamp(-LARGEST_GRADIENT, LARGEST_GRADIENT)
        return torch.where((factor <= LEAST_FACTOR) & (g > 0), 0.0, g), None
