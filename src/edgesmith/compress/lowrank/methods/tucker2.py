"""Convolutions as pointwise, core and pointwise: Tucker decomposition along the channels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import nn

from edgesmith.compress.lowrank.method import METHODS, Decomposition, Factors, Layer, Method, Ranks
from edgesmith.compress.lowrank.moments import LayerMoments
from edgesmith.compress.lowrank.parts import pointwise, window
from edgesmith.compress.lowrank.spectrum import Spectrum
from edgesmith.compress.lowrank.tensor import TensorDecomposition
from edgesmith.compress.lowrank.tucker import channel_spectra, tucker

__all__ = ["Tucker2", "pointwise_only"]


def pointwise_only(layer: Layer, name: str) -> str | None:
    """Why a method with pointwise layers around a core cannot replace the layer, or None."""
    if not isinstance(layer, nn.Conv2d):
        return f"{name} takes Conv2d layers"
    return "a 1 x 1 kernel, which channel takes" if layer.kernel_size == (1, 1) else None


class _Tucker2(TensorDecomposition):
    def __init__(self, layer: nn.Conv2d, moments: LayerMoments | None) -> None:
        super().__init__(layer, moments)
        outputs, inputs, height, width = self.weight.shape
        area = height * width
        self.limits = (min(inputs, outputs * area), min(outputs, inputs * area))

    @cached_property
    def _energies(self) -> tuple[Spectrum, Spectrum]:
        return channel_spectra(self.weight)

    def keeping(self, energy: float) -> Ranks | None:
        # What both modes lose bounds the loss of the whole (De Lathauwer et al., 2000, property 10).
        each = 1.0 - (1.0 - energy) / 2
        return tuple(spectrum.keeping(each) for spectrum in self._energies)

    def factors(self, ranks: Ranks) -> Factors:
        inner, outer = ranks
        found = tucker(self.weight, inner, outer)
        norm = float(self.weight.norm())
        error = float((self.weight - found.tensor()).norm()) / norm if norm > 0 else 0.0
        first = self.whitened.restored(found.inputs.T)[:, :, None, None]
        return Factors((first, found.core, found.outputs[:, :, None, None]), self.bias, error)


@METHODS.register("tucker2")
@dataclass(frozen=True)
class Tucker2(Method):
    """Conv2d (S -> T, k x k) as 1 x 1 (S -> r), k x k (r -> s) and 1 x 1 (s -> T); Kim et al., arXiv:1511.06530.

    Ranks are (r, s): of the input channels, then of the output channels.
    """

    name = "tucker2"

    def refuses(self, layer: Layer) -> str | None:
        return pointwise_only(layer, self.name)

    def structure(self, layer: Layer, ranks: Ranks, device: Any = None) -> nn.Sequential:
        assert isinstance(layer, nn.Conv2d)
        inner, outer = ranks
        return nn.Sequential(
            pointwise(layer, layer.in_channels, inner, device=device),
            window(layer, inner, outer, device=device),
            pointwise(layer, outer, layer.out_channels, bias=layer.bias is not None, device=device),
        )

    def decompose(self, layer: Layer, moments: LayerMoments | None = None) -> Decomposition:
        assert isinstance(layer, nn.Conv2d)
        return _Tucker2(layer, moments)
