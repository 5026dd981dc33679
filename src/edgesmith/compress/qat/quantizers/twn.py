"""Ternary weights (Li et al., Ternary Weight Networks, arXiv:1605.04711)."""

from __future__ import annotations

from torch import Tensor

from edgesmith.compress.qat.quantizers.base import weights
from edgesmith.compress.qat.quantizers.signs import SignWeights

__all__ = ["TernaryWeights"]

THRESHOLD = 0.7
"""Of the mean size (section 2.3 of the paper)."""


@weights("twn")
class TernaryWeights(SignWeights):
    """Weights are -1, 0 or 1 times a scale, and 0 below 0.7 of their mean size; programs store 2 bits each."""

    def kept(self, size: Tensor) -> Tensor:
        return size > THRESHOLD * size.mean(1, keepdim=True)
