"""Powers of two, group by group (Zhou et al., Incremental Network Quantization, arXiv:1702.03044)."""

from __future__ import annotations

import torch
from torch import Tensor

from edgesmith.compress.qat.quantizers.base import Coded, WeightQuantizer, weights
from edgesmith.compress.qat.rounding import replaced
from edgesmith.quantize import QParams

__all__ = ["IncrementalWeights"]

LARGEST_CODE = 64
"""The largest power of two that i8 holds."""


@weights("inq")
class IncrementalWeights(WeightQuantizer):
    """Weights are 0 or plus or minus 2^n1, ..., 2^n2 (times what batch normalisation folds in).

    Equation 2 of the paper: n1 = floor(log2(4/3 max|w|)), for the layer; of b bits there are 2^(b-2) sizes, at most 7
    of them, which fit i8 as 64, 32, ..., 1. ``advance`` fixes the largest weights; the others are trained in floats and
    make up for the error. Evaluation, and what is exported, has all weights rounded.

    Sections 2.2 and 2.3: fix 50, 75, 87.5 and 100 % of the weights, with training after each but the last.
    """

    exponent: Tensor
    fixed: Tensor
    """i8: the codes of the weights that are fixed."""
    is_fixed: Tensor

    def __init__(self, start: QParams, weights: Tensor, bits: int) -> None:
        super().__init__(start, weights, bits)
        sizes = min(2 ** max(bits - 2, 0), LARGEST_CODE.bit_length())
        self.low, self.high = -(1 << (sizes - 1)), 1 << (sizes - 1)
        largest = weights.detach().abs().max().double().clamp_min(torch.finfo(torch.float32).tiny)
        self.register_buffer("exponent", torch.floor(torch.log2(largest * 4 / 3)).float())
        self.register_buffer("fixed", torch.zeros(weights.shape, dtype=torch.int8))
        self.register_buffer("is_fixed", torch.zeros(weights.shape, dtype=torch.bool))

    def advance(self, weights: Tensor, ratio: Tensor, share: float) -> None:
        """Fix the largest weights, so many that ``share`` of all are fixed."""
        unfolded = weights.detach() / self.along(ratio, weights.ndim)
        more = round(share * unfolded.numel()) - int(self.is_fixed.sum())
        if more > 0:
            size = torch.where(self.is_fixed, -1.0, unfolded.abs()).flatten()
            chosen = torch.zeros_like(size, dtype=torch.bool).index_fill_(0, size.topk(more).indices, True)
            now = chosen.reshape(unfolded.shape)
            self.fixed.copy_(torch.where(now, self._codes(unfolded), self.fixed))
            self.is_fixed |= now

    def forward(self, weights: Tensor, ratio: Tensor, floor: Tensor) -> Tensor:
        if not self.training:
            codes, scale = self.coded(weights, ratio, floor)
            return replaced(weights, codes * self.along(scale, weights.ndim))
        value = self.fixed * (self._unit / self.high) * self.along(ratio, weights.ndim)
        return torch.where(self.is_fixed, value, weights)

    def coded(self, weights: Tensor, ratio: Tensor, floor: Tensor) -> Coded:
        factor = self.along(ratio, weights.ndim)
        codes = torch.where(self.is_fixed, self.fixed, self._codes(weights.detach() / factor))
        scale = self._unit * ratio.abs() / self.high
        return Coded(codes * factor.sign(), scale)

    @property
    def _unit(self) -> Tensor:
        """The largest power of two."""
        return torch.exp2(self.exponent)

    def _codes(self, weights: Tensor) -> Tensor:
        """The powers of two of equation 4, in units of the smallest one: a size from 3/4 to 3/2 of one becomes it, and
        one from 1/2 of the smallest on the smallest."""
        size = (weights / self._unit).abs()
        least = 1 / self.high
        power = torch.exp2(torch.floor(torch.log2(size.clamp_min(least / 4) * 4 / 3))).clamp(least, 1.0)
        return torch.where(size < least / 2, 0.0, power) * weights.sign() * self.high
