"""Binary weights (Courbariaux et al., arXiv:1602.02830; Rastegari et al., XNOR-Net, arXiv:1603.05279)."""

from __future__ import annotations

import torch
from torch import Tensor

from edgesmith.compress.qat.quantizers.base import weights
from edgesmith.compress.qat.quantizers.signs import SignWeights

__all__ = ["BinaryWeights"]


@weights("binary")
class BinaryWeights(SignWeights):
    """Weights are -1 or 1 times their mean size; programs store 1 bit each.

    With ``activations="signs"`` layers read the signs of their inputs too, and are XNOR-Net's without the factor for
    each position.
    """

    def kept(self, size: Tensor) -> Tensor:
        return torch.ones_like(size, dtype=torch.bool)
