"""Convolutions as one with fewer outputs, then a pointwise one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from edgesmith.compress.lowrank.matrix import MatrixDecomposition
from edgesmith.compress.lowrank.method import METHODS, Decomposition, Layer, Method, Ranks
from edgesmith.compress.lowrank.moments import LayerMoments, Moments
from edgesmith.compress.lowrank.parts import pointwise, window

__all__ = ["Channel"]


class _Channel(MatrixDecomposition):
    def __init__(self, layer: nn.Conv2d, outputs: Moments | None) -> None:
        weight = layer.weight.detach().double()
        super().__init__(weight.flatten(1), None if layer.bias is None else layer.bias.detach().double(), outputs)
        self._window = weight.shape[1:]

    def shaped(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        return first.reshape(-1, *self._window), second[:, :, None, None]


@METHODS.register("channel")
@dataclass(frozen=True)
class Channel(Method):
    """Conv2d (S -> T, k x k) as k x k (S -> r) and 1 x 1 (r -> T); Zhang et al., arXiv:1505.06798.

    The one method for 1 x 1 convolutions.
    """

    name = "channel"

    def refuses(self, layer: Layer) -> str | None:
        return None if isinstance(layer, nn.Conv2d) else "channel takes Conv2d layers"

    def structure(self, layer: Layer, ranks: Ranks, device: Any = None) -> nn.Sequential:
        assert isinstance(layer, nn.Conv2d)
        return nn.Sequential(
            window(layer, layer.in_channels, ranks[0], device=device),
            pointwise(layer, ranks[0], layer.out_channels, bias=layer.bias is not None, device=device),
        )

    def decompose(self, layer: Layer, moments: LayerMoments | None = None) -> Decomposition:
        assert isinstance(layer, nn.Conv2d)
        return _Channel(layer, moments.outputs if moments else None)

    def minimises_output_error(self) -> bool:
        return True
