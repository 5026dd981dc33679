"""Rounding to integers and back in f32, with the gradients that quantisation-aware training gives it."""

from __future__ import annotations

from enum import Enum
from typing import Any

import torch
from torch import Tensor

__all__ = ["ScaleGradient", "replaced", "rounded"]


_AT_BOUND = 1e-3
"""Elements so many steps beyond a bound have a gradient still: the largest weight of a channel lies at its bound."""


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
        dx = _within(g, steps, low - _AT_BOUND, high + _AT_BOUND)
        ds = None
        if ctx.needs_input_grad[1] and ctx.gradient is not ScaleGradient.NONE:
            slope = steps.clamp(low, high)
            within = _within(steps, steps, low, high)
            ds = _product_sum(g, (slope.round_() if ctx.gradient is ScaleGradient.STEPS else slope) - within, scale)
        return dx, ds, None, None, None


def _within(x: Tensor, steps: Tensor, low: float, high: float) -> Tensor:
    """``x`` where ``steps`` lie between the bounds, elsewhere 0, in one pass."""
    found: Tensor = torch.ops.aten.hardtanh_backward(x, steps, low, high)
    return found


def _product_sum(a: Tensor, b: Tensor, like: Tensor) -> Tensor:
    """The sum of ``a * b`` in the shape of ``like``."""
    if not like.ndim and a.stride() == b.stride() and torch.ops.aten.is_non_overlapping_and_dense(a):
        return torch.dot(*(t.as_strided((t.numel(),), (1,), t.storage_offset()) for t in (a, b)))
    return (a * b).sum_to_size(like.shape)


class _Replaced(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, value: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return gradients[0], None
