"""What ternary and binary weights have in common."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from edgesmith.compress.qat.quantizers.base import Coded, WeightQuantizer
from edgesmith.compress.qat.rounding import replaced

__all__ = ["SignWeights"]


class SignWeights(WeightQuantizer):
    """Signs times the mean size of the weights that are not 0; gradients go straight through to all weights.

    Of signs the mean is the scale of least squared error. It is found anew for each evaluation.
    """

    are_signs: ClassVar[bool] = True

    @abstractmethod
    def kept(self, size: Tensor) -> Tensor:
        """Which weights are not 0, by their sizes (f64, one line for each scale)."""

    def forward(self, weights: Tensor, ratio: Tensor, floor: Tensor) -> Tensor:
        codes, scale = self.coded(weights.detach(), ratio, floor)
        return replaced(weights, codes * self.along(scale, weights.ndim))

    def coded(self, weights: Tensor, ratio: Tensor, floor: Tensor) -> Coded:
        lines = weights.detach().double().reshape(self.start.numel(), -1)
        size = lines.abs()
        kept = self.kept(size)
        mean = torch.where(kept, size, 0.0).sum(1) / kept.sum(1).clamp_min(1)
        scale = torch.where(mean > 0, mean, self.start.double().reshape(-1)).float().reshape(self.start.shape)
        codes = torch.where(kept, torch.where(lines < 0, -1.0, 1.0), 0.0).float()
        return Coded(codes.reshape(weights.shape), scale)
