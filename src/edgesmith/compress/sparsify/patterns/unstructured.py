"""Weights one by one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from edgesmith.compress.sparsify.pattern import PATTERNS, Pattern

__all__ = ["Unstructured"]


@PATTERNS.register("unstructured")
@dataclass(frozen=True)
class Unstructured(Pattern):
    """Any weight may be zero; Han et al., arXiv:1506.02626. Smaller to store, rarely faster."""

    def scores(self, weight: Tensor) -> Tensor:
        return weight.detach().abs()

    def spread(self, units: Tensor, shape: torch.Size) -> Tensor:
        return units
