"""Weights of a convolution in coordinates where the input channels are uncorrelated and equally strong."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edgesmith.compress.lowrank.moments import LayerMoments

__all__ = ["Whitened"]

FLOOR = 1e-4
"""Least energy of a direction, as a share of the mean; directions that the data lack do not vanish."""


@dataclass(frozen=True)
class Whitened:
    """Weights W, (T, S, kh, kw), times the root of the second moment C of the input channels.

    The squared norm of W C^(1/2) is that of the outputs, up to correlations between neighbouring positions.

    Attributes:
        weight: W C^(1/2); W where there are no moments.
        back: C^(-1/2), (S, S), or None.
    """

    weight: Tensor
    back: Tensor | None

    @staticmethod
    def of(layer: nn.Conv2d, moments: LayerMoments | None) -> Whitened:
        weight = layer.weight.detach().double()
        if moments is None:
            return Whitened(weight, None)
        energies, directions = torch.linalg.eigh(moments.inputs.spread(layer.bias is not None))
        mean = float(energies.clamp_min(0.0).mean())
        if mean <= 0:
            return Whitened(weight, None)
        roots = energies.clamp_min(FLOOR * mean).sqrt()
        forth = (directions * roots) @ directions.T
        return Whitened(torch.einsum("tshw,sz->tzhw", weight, forth), (directions / roots) @ directions.T)

    def restored(self, inputs: Tensor) -> Tensor:
        """A factor (r, S, ...) of ``weight`` as the factor of W."""
        return inputs if self.back is None else torch.einsum("rs...,sz->rz...", inputs, self.back)
