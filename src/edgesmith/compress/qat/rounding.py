"""Rounding to integers and back in f32, with the gradients that quantisation-aware training gives it."""

from __future__ import annotations

from enum import Enum
from typing import Any

import torch
from torch import Tensor

__all__ = ["ScaleGradient", "replaced", "rounded", "scaled_gradient"]


class ScaleGradient(Enum):
    """What the gradient with respect to the scale is, for an element that is x / scale = v steps."""

    NONE = "none"
    CLIPPED = "the bound for an element beyond it, 0 within (PACT, arXiv:1805.06085)"
    STEPS = "the bound for an element beyond it, round(v) - v within (LSQ, arXiv:1902.08153)"


def rounded(x: Tensor, scale: Tensor, low: int, high: int, gradient: ScaleGradient = ScaleGradient.NONE) -> Tensor:
    """What the integers of ``x`` stand for: ``clamp(round(x / scale), low, high) * scale``, ties to even, in f32.

    These are the operations of QuantizeLinear and DequantizeLinear. The gradient with respect to ``x`` goes straight
    through within the bounds and is 0 beyond (arXiv:1308.3432).

    Args:
        scale: above 0, of a shape that broadcasts to that of ``x``.
        low, high: bounds in steps, less the zero point.
    """
    found: Tensor = _Rounded.apply(x, scale, low, high, gradient)  # type: ignore[no-untyped-call]
    return found


def scaled_gradient(x: Tensor, factor: Tensor) -> Tensor:
    """``x``, whose gradient is multiplied by ``factor``."""
    found: Tensor = _ScaledGradient.apply(x, factor)  # type: ignore[no-untyped-call]
    return found


def replaced(x: Tensor, value: Tensor) -> Tensor:
    """``value``, whose gradient is that of ``x``."""
    found: Tensor = _Replaced.apply(x, value)  # type: ignore[no-untyped-call]
    return found


class _Rounded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, low: int, high: int, gradient: ScaleGradient) -> Tensor:
        ctx.save_for_backward(x, scale)
        ctx.bounds, ctx.gradient = (low, high), gradient
        return (x / scale).round_().clamp_(low, high).mul_(scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (g,) = gradients
        x, scale = ctx.saved_tensors
        low, high = ctx.bounds
        steps = x / scale
        inside = (steps >= low) & (steps <= high)
        dx = g * inside if ctx.needs_input_grad[0] else None
        ds = None
        if ctx.needs_input_grad[1] and ctx.gradient is not ScaleGradient.NONE:
            slope = steps.clamp(low, high)
            if ctx.gradient is ScaleGradient.STEPS:
                slope = slope.round().sub_(steps.mul_(inside))
            else:
                slope.mul_(~inside)
            ds = slope.mul_(g).sum_to_size(scale.shape)
        return dx, ds, None, None, None


class _ScaledGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: Tensor) -> Tensor:
        ctx.save_for_backward(factor)
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return gradients[0] * ctx.saved_tensors[0], None


class _Replaced(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, value: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return gradients[0], None
