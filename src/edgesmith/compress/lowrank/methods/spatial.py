"""Convolutions as a vertical one, then a horizontal one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from edgesmith.compress.lowrank.matrix import MatrixDecomposition
from edgesmith.compress.lowrank.method import METHODS, Decomposition, Layer, Method, Ranks
from edgesmith.compress.lowrank.moments import LayerMoments
from edgesmith.compress.lowrank.parts import window
from edgesmith.compress.lowrank.spectrum import Spectrum
from edgesmith.compress.lowrank.whitening import Whitened

__all__ = ["Spatial"]


class _Spatial(MatrixDecomposition):
    def __init__(self, layer: nn.Conv2d, moments: LayerMoments | None) -> None:
        self._plain, self._whitened = layer.weight.detach().double(), Whitened.of(layer, moments)
        outputs, inputs, height, width = self._plain.shape
        matrix = _unfolded(self._whitened.weight)
        super().__init__(matrix, None if layer.bias is None else layer.bias.detach().double())
        self._vertical, self._horizontal = (inputs, height, 1), (outputs, width)

    @property
    def spectra(self) -> Sequence[Spectrum]:
        return (Spectrum.of(_unfolded(self._plain)),)

    def shaped(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        horizontal = second.reshape(*self._horizontal, -1).permute(0, 2, 1)
        return self._whitened.restored(first.reshape(-1, *self._vertical)), horizontal[:, :, None, :]


def _unfolded(weight: Tensor) -> Tensor:
    """(T, S, kh, kw) as a matrix (T kw, S kh)."""
    outputs, inputs, height, width = weight.shape
    return weight.permute(0, 3, 1, 2).reshape(outputs * width, inputs * height)


@METHODS.register("spatial")
@dataclass(frozen=True)
class Spatial(Method):
    """Conv2d (S -> T, kh x kw) as kh x 1 (S -> r) and 1 x kw (r -> T); Jaderberg et al., arXiv:1405.3866."""

    name = "spatial"

    def refuses(self, layer: Layer) -> str | None:
        if not isinstance(layer, nn.Conv2d):
            return "spatial takes Conv2d layers"
        height, width = layer.kernel_size
        return f"a {height} x {width} kernel has one axis" if height == 1 or width == 1 else None

    def structure(self, layer: Layer, ranks: Ranks, device: Any = None) -> nn.Sequential:
        assert isinstance(layer, nn.Conv2d)
        bias = layer.bias is not None
        return nn.Sequential(
            window(layer, layer.in_channels, ranks[0], width=False, device=device),
            window(layer, ranks[0], layer.out_channels, height=False, bias=bias, device=device),
        )

    def decompose(self, layer: Layer, moments: LayerMoments | None = None) -> Decomposition:
        assert isinstance(layer, nn.Conv2d)
        return _Spatial(layer, moments)
