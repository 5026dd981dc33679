"""Convolutions as pointwise, two depthwise along one axis each, and pointwise: canonical polyadic decomposition."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

from torch import nn

from edgesmith.compress.lowrank.canonical import Canonical, canonical
from edgesmith.compress.lowrank.least import least, spaced
from edgesmith.compress.lowrank.method import METHODS, Decomposition, Factors, Layer, Method, Ranks
from edgesmith.compress.lowrank.methods.tucker2 import pointwise_only
from edgesmith.compress.lowrank.moments import LayerMoments
from edgesmith.compress.lowrank.parts import pointwise, window
from edgesmith.compress.lowrank.tensor import TensorDecomposition

__all__ = ["Cp"]


class _Cp(TensorDecomposition):
    def __init__(self, layer: nn.Conv2d, moments: LayerMoments | None) -> None:
        super().__init__(layer, moments)
        sizes = sorted(self.weight.shape)
        self.limits = (prod(sizes[:-1]),)
        self._found: dict[int, Canonical] = {}

    def recovered(self, ranks: Ranks) -> Ranks:
        return (max(ranks),)

    def at(self, rank: int) -> Canonical:
        if rank not in self._found:
            self._found[rank] = canonical(self.weight, rank)
        return self._found[rank]

    def keeping(self, energy: float) -> Ranks | None:
        # Beyond these many components the factors are larger than the weights.
        most = min(self.limits[0], max(1, self.weight.numel() // sum(self.weight.shape)))
        found = least(spaced(most), lambda rank: self._keeps(rank, energy))
        return None if found is None else (found,)

    def _keeps(self, rank: int, energy: float) -> bool:
        return self.at(rank).error ** 2 <= 1.0 - energy

    def factors(self, ranks: Ranks) -> Factors:
        found = self.at(ranks[0])
        weights = (
            self.whitened.restored(found.inputs.T)[:, :, None, None],
            found.height.T[:, None, :, None],
            found.width.T[:, None, None, :],
            found.outputs[:, :, None, None],
        )
        return Factors(weights, self.bias, found.error)


@METHODS.register("cp")
@dataclass(frozen=True)
class Cp(Method):
    """Conv2d (S -> T, kh x kw) as 1 x 1 (S -> r), depthwise kh x 1, depthwise 1 x kw, and 1 x 1 (r -> T).

    Lebedev et al., arXiv:1412.6553; least squares are regularised. The rank that keeps a share of the energy is
    found to a sixteenth of the largest useful one.
    """

    name = "cp"

    def refuses(self, layer: Layer) -> str | None:
        return pointwise_only(layer, self.name)

    def structure(self, layer: Layer, ranks: Ranks, device: Any = None) -> nn.Sequential:
        assert isinstance(layer, nn.Conv2d)
        (rank,) = ranks
        return nn.Sequential(
            pointwise(layer, layer.in_channels, rank, device=device),
            window(layer, rank, rank, width=False, groups=rank, device=device),
            window(layer, rank, rank, height=False, groups=rank, device=device),
            pointwise(layer, rank, layer.out_channels, bias=layer.bias is not None, device=device),
        )

    def decompose(self, layer: Layer, moments: LayerMoments | None = None) -> Decomposition:
        assert isinstance(layer, nn.Conv2d)
        return _Cp(layer, moments)
