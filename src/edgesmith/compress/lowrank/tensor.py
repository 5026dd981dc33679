"""What decompositions of a convolution's weights as a tensor have in common."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from torch import nn

from edgesmith.compress.lowrank.method import Decomposition
from edgesmith.compress.lowrank.moments import LayerMoments
from edgesmith.compress.lowrank.spectrum import Spectrum
from edgesmith.compress.lowrank.tucker import channel_spectra
from edgesmith.compress.lowrank.whitening import Whitened

__all__ = ["TensorDecomposition"]


class TensorDecomposition(Decomposition):
    """Weights (T, S, kh, kw) in coordinates where the input channels are white.

    Attributes:
        weight: in float64.
        bias: of the layer.
    """

    def __init__(self, layer: nn.Conv2d, moments: LayerMoments | None) -> None:
        self.whitened = Whitened.of(layer, moments)
        self.weight = self.whitened.weight
        self.bias = None if layer.bias is None else layer.bias.detach().double()
        self._plain = layer.weight.detach().double()

    @cached_property
    def _spectra(self) -> tuple[Spectrum, Spectrum]:
        return channel_spectra(self._plain)

    @property
    def spectra(self) -> Sequence[Spectrum]:
        """Of the unfoldings along input and output channels."""
        return self._spectra
