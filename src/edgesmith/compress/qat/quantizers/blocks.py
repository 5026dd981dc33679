"""4-bit weights with a learned scale for each block of inputs."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from edgesmith.compress.qat.quantizers.base import Coded, WeightQuantizer, weights
from edgesmith.compress.qat.quantizers.learned_scale import factor_like, learned_scale
from edgesmith.compress.qat.rounding import ScaleGradient, replaced, rounded
from edgesmith.quantize import QParams

__all__ = ["BlockWeights"]

_LEAST = 2.0**-24
"""The smallest number of fp16."""


@weights("blocks")
class BlockWeights(WeightQuantizer):
    """Integers from -8 to 7, and a scale in fp16 for each block of neighbours along axis 1, trained as by ``lsq``.

    For layers whose inputs stay in floats (``activations="floats"``); what the program does is in docs/quantisation.md,
    Weights in blocks. The start has a scale for each block, laid out like the weights.
    """

    def __init__(self, start: QParams, weights: Tensor, bits: int) -> None:
        super().__init__(start, weights, bits)
        self.factor = factor_like(self.start)

    def forward(self, weights: Tensor, ratio: Tensor, floor: Tensor) -> Tensor:
        scale = self._each(self._scale(weights, ratio), weights)
        return rounded(weights, scale, self.low, self.high, ScaleGradient.STEPS)

    def coded(self, weights: Tensor, ratio: Tensor, floor: Tensor) -> Coded:
        scale = self._scale(weights, ratio)
        codes = (weights / self._each(scale, weights)).round_().clamp_(self.low, self.high)
        return Coded(codes, scale)

    def _scale(self, weights: Tensor, ratio: Tensor) -> Tensor:
        start = self.start * ratio.abs().reshape(-1, *(1,) * (self.start.ndim - 1))
        block = weights.shape[1] // start.shape[1]
        scale = learned_scale(start, self.factor, 1 / math.sqrt(block * self.high)).clamp_min(_LEAST)
        return replaced(scale, scale.detach().half().float())

    def _each(self, scale: Tensor, weights: Tensor) -> Tensor:
        """The scale of each weight."""
        return torch.repeat_interleave(scale, weights.shape[1] // scale.shape[1], 1)
