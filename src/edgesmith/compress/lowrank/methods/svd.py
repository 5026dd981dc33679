"""Linear layers as two: truncated singular value decomposition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from edgesmith.compress.lowrank.matrix import MatrixDecomposition
from edgesmith.compress.lowrank.method import METHODS, Decomposition, Layer, Method, Ranks
from edgesmith.compress.lowrank.moments import LayerMoments

__all__ = ["Svd"]


class _Linear(MatrixDecomposition):
    def shaped(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        return first, second


@METHODS.register("svd")
@dataclass(frozen=True)
class Svd(Method):
    """Linear (in -> out) as Linear (in -> r) and Linear (r -> out)."""

    name = "svd"

    def refuses(self, layer: Layer) -> str | None:
        return None if isinstance(layer, nn.Linear) else "svd takes Linear layers"

    def structure(self, layer: Layer, ranks: Ranks, device: Any = None) -> nn.Sequential:
        assert isinstance(layer, nn.Linear)
        where = layer.weight.device if device is None else device
        dtype = layer.weight.dtype
        return nn.Sequential(
            nn.Linear(layer.in_features, ranks[0], bias=False, device=where, dtype=dtype),
            nn.Linear(ranks[0], layer.out_features, bias=layer.bias is not None, device=where, dtype=dtype),
        )

    def decompose(self, layer: Layer, moments: LayerMoments | None = None) -> Decomposition:
        bias = None if layer.bias is None else layer.bias.detach().double()
        return _Linear(layer.weight.detach().double(), bias, moments.outputs if moments else None)

    def minimises_output_error(self) -> bool:
        return True
