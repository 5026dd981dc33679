"""Weights that are zero where a mask says so, as parametrisations of a layer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from edgesmith.compress.sparsify.pattern import Pattern

__all__ = ["FixedMask", "StraightThroughMask"]


class FixedMask(nn.Module):
    """Zero where ``mask`` is false, whatever an optimiser does to the weights; no gradient goes there.

    Args:
        like: the weights.
    """

    mask: Tensor

    def __init__(self, like: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", torch.ones_like(like, dtype=torch.bool))

    def forward(self, weight: Tensor) -> Tensor:
        # Not a product, which would make zeros with a sign.
        return torch.where(self.mask, weight, torch.zeros_like(weight))


class StraightThroughMask(nn.Module):
    """Zero where the weights' own magnitudes say so, chosen anew at every evaluation.

    Gradients pass to all weights as if there were no mask, and those that are cut decay besides (SR-STE: Zhou et al.,
    arXiv:2102.04010), so that a weight can come back, and masks settle.

    Args:
        pattern: of the mask.
        density: of the mask.
        decay: how fast weights that are cut shrink: their share that is added to the gradient.
    """

    def __init__(self, pattern: Pattern, density: float, decay: float) -> None:
        super().__init__()
        self.pattern, self.density, self.decay = pattern, density, decay

    def get_extra_state(self) -> Tensor:
        """The density, which ``state_dict`` holds."""
        return torch.tensor(self.density, dtype=torch.float64, device="cpu")

    def set_extra_state(self, state: Tensor) -> None:
        """The density of a loaded ``state_dict``."""
        self.density = float(state)

    def forward(self, weight: Tensor) -> Tensor:
        mask = self.pattern.mask(weight, self.density)
        masked: Tensor = _StraightThrough.apply(weight, mask, self.decay)  # type: ignore[no-untyped-call]
        return masked


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, mask: Tensor, decay: float) -> Tensor:
        ctx.save_for_backward(weight, mask)
        ctx.decay = decay
        return torch.where(mask, weight, torch.zeros_like(weight))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        weight, mask = ctx.saved_tensors
        return gradients[0] + ctx.decay * torch.where(mask, torch.zeros_like(weight), weight), None, None
