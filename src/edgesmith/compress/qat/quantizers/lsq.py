"""Learned step sizes (Esser et al., Learned Step Size Quantization, arXiv:1902.08153)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from edgesmith.compress.qat.quantizers.base import ActivationQuantizer, Coded, WeightQuantizer, activations, weights
from edgesmith.compress.qat.quantizers.learned_scale import factor_like, learned_scale
from edgesmith.compress.qat.rounding import ScaleGradient, rounded
from edgesmith.quantize import QParams

__all__ = ["LsqActivations", "LsqWeights"]


@weights("lsq")
class LsqWeights(WeightQuantizer):
    """Nearest integers; each scale is trained by the gradient of section 2.1, which section 2.2 multiplies by
    1 / sqrt(elements * largest integer).

    It starts where post-training quantisation puts it, and follows the channel when batch normalisation changes.
    """

    def __init__(self, start: QParams, weights: Tensor, bits: int) -> None:
        super().__init__(start, weights, bits)
        self.factor = factor_like(self.start)

    def forward(self, weights: Tensor, ratio: Tensor, floor: Tensor) -> Tensor:
        scale = self.along(self._scale(weights, ratio, floor), weights.ndim)
        return rounded(weights, scale, self.low, self.high, ScaleGradient.STEPS)

    def coded(self, weights: Tensor, ratio: Tensor, floor: Tensor) -> Coded:
        return self.nearest(weights, self._scale(weights, ratio, floor))

    def _scale(self, weights: Tensor, ratio: Tensor, floor: Tensor) -> Tensor:
        start = self.start * ratio.abs() if self.start.ndim else self.start
        elements = weights.numel() // max(self.start.numel(), 1)
        scale = learned_scale(start, self.factor, 1 / math.sqrt(elements * self.high))
        return torch.maximum(scale, floor)


@activations("lsq")
class LsqActivations(ActivationQuantizer):
    """The scale is trained; the zero point stays, so that 0 is exact."""

    gradient = ScaleGradient.STEPS

    def __init__(self, start: QParams) -> None:
        super().__init__(start)
        self.factor = factor_like(self.start)
        self._elements = 1

    @property
    def scale(self) -> Tensor:
        return learned_scale(self.start, self.factor, 1 / math.sqrt(self._elements * max(self.bounds[1], 1)))

    def forward(self, x: Tensor) -> Tensor:
        self._elements = max(x.numel() // max(x.shape[0], 1), 1) if x.ndim else 1
        return super().forward(x)
