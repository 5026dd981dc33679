"""A convolution or linear layer with integer weights, and the batch normalisation folded into it."""

from __future__ import annotations

import copy
from typing import Any, cast

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from edgesmith.compress.qat.described_state import DescribedState
from edgesmith.compress.qat.folding import (
    BatchNorm,
    Product,
    folded,
    folded_gain,
    scaled,
    starting_gain,
    with_parameters,
)
from edgesmith.compress.qat.quantizers import ActivationQuantizer, Coded, WeightQuantizer
from edgesmith.compress.qat.rounding import replaced
from edgesmith.compress.qat.settings import Reads
from edgesmith.quantize.products import MAX_BIAS

__all__ = ["QuantizedLayer"]

LEAST_RATIO = 2.0**-24
"""Of what normalisation multiplies a channel by to what it did at the start: what is smaller vanishes in any sum."""
_EXACT = 1 << 24
"""Integers up to this are numbers of f32."""


class QuantizedLayer(DescribedState):
    """Computes what the compiled program computes in evaluation mode, and something to train in training mode.

    Batch normalisation is folded with its running statistics, so that weights do not jitter with batches, and while it
    trains, what was folded in is taken out of the results again and the batch's own statistics normalise them
    (Krishnamoorthi, arXiv:1806.08342, section 3.2.2). After ``freeze`` the running statistics stay and are all that
    counts, as in evaluation mode.

    In evaluation mode sums are those of integers, exactly, also under autocast; the bias is an integer, in units of
    both scales. One multiplication in f32 gives the result.

    Args:
        layer: whose parameters are used as they are.
        norm: follows the layer; None: nothing does.
        quantizer: rounds the weights, folded.
        source: rounds the layer's input, where it reads integers.
        reads: what it reads.
        biased: whether the program adds a bias to the sums as an integer; otherwise it does so later, in f32.
        keep_zeros: weights that are 0 stay 0.
    """

    def __init__(
        self,
        layer: Product,
        norm: BatchNorm | None,
        quantizer: WeightQuantizer,
        source: ActivationQuantizer | None,
        *,
        reads: Reads = Reads.INTEGERS,
        biased: bool = True,
        keep_zeros: bool = False,
    ) -> None:
        super().__init__()
        self.weight, self.bias, self.norm, self.quantizer = layer.weight, layer.bias, norm, quantizer
        self._source, self._layer = (source,), (_shell(layer),)
        self.reads, self.is_biased = reads, biased
        self.frozen = False
        self.register_buffer("gain", starting_gain(self.weight, norm))
        self.register_buffer("mask", self.weight.detach() != 0 if keep_zeros else None)
        self.gain: Tensor
        self.mask: Tensor | None

    def extra_repr(self) -> str:
        return f"{type(self.layer).__name__}, {self.quantizer.bits} bits"

    @property
    def layer(self) -> Product:
        """The layer that it was made from, without parameters."""
        return self._layer[0]

    @property
    def source(self) -> ActivationQuantizer | None:
        """What rounds its input, where it reads integers."""
        return self._source[0]

    def restart(self, quantizer: WeightQuantizer) -> None:
        """Round the weights by another quantiser, which starts from what they are, folded, now."""
        self.quantizer = quantizer.train(self.training)
        self.gain = starting_gain(self.weight, self.norm)

    def freeze(self) -> None:
        """Keep the running statistics of batch normalisation, and what the quantiser follows, as they are."""
        self.frozen = True
        self.quantizer.freeze()

    def forward(self, x: Tensor) -> Tensor:
        if self.reads is Reads.SIGNS:
            x = _signs(x)
        if not self.training and self.reads is not Reads.FLOATS:
            with torch.autocast(x.device.type, enabled=False):
                x = x.float()
                with torch.no_grad():
                    exact = self._exact(x)
                return replaced(self._rounded(x), exact) if torch.is_grad_enabled() else exact
        if not self.training or self.norm is None or self.frozen or not self.norm.training:
            return self._rounded(x)
        return self._normalized(x, self.norm)

    def coded(self) -> Coded:
        """The weights as integers, and their scale."""
        with torch.no_grad():
            weights, bias, ratio = self.folded()
            return self.quantizer.coded(weights, ratio, self._floor(bias))

    def plain(self) -> Product:
        """The layer in floats, with batch normalisation folded in."""
        with torch.no_grad():
            weights, bias, _ = self.folded()
        return with_parameters(self.layer, weights, bias)

    def folded(self) -> tuple[Tensor, Tensor | None, Tensor]:
        """Weights and bias with the running statistics folded in, and what that multiplies channels by now, in units
        of what it did at the start: ``LEAST_RATIO`` at least, so that channels that are switched off have a scale."""
        ratio = folded_gain(self.weight, self.norm) / self.gain
        size = ratio.abs().clamp_min(LEAST_RATIO)
        return (*folded(self._weight, self.bias, self.norm), torch.where(ratio < 0, -size, size))

    @property
    def _weight(self) -> Tensor:
        """The weights, of which those that are to stay 0 have no gradient."""
        return self.weight if self.mask is None else torch.where(self.mask, self.weight, 0.0)

    def _floor(self, bias: Tensor | None) -> Tensor:
        """The least scales for which the bias fits integers."""
        like = self.quantizer.start
        if bias is None or self.source is None or not self.is_biased:
            return torch.zeros_like(like)
        size = bias.detach().abs().double()
        floor = (size if like.ndim else size.amax()) / (self.source.scale.detach().double() * (MAX_BIAS / 2))
        return floor.float()

    def _rounded(self, x: Tensor) -> Tensor:
        weights, bias, ratio = self.folded()
        return self._product(x, self.quantizer(weights, ratio, self._floor(bias)), bias)

    def _normalized(self, x: Tensor, norm: BatchNorm) -> Tensor:
        _, bias, _ = self.folded()
        gain = folded_gain(self.weight, self.norm)
        gain = torch.where(gain.abs() > LEAST_RATIO * self.gain.abs(), gain, self.gain)
        rounded = self.quantizer(scaled(self._weight, gain), gain / self.gain, self._floor(bias))
        return cast(Tensor, norm(self._product(x, scaled(rounded, 1 / gain), self.bias)))

    def _exact(self, x: Tensor) -> Tensor:
        """The result by integer sums."""
        _, bias, _ = self.folded()
        codes, scale = self.coded()
        if self.source is None:
            steps, unit = x, scale.double()
            largest = 1
        else:
            steps, unit = torch.round(x / self.source.scale), self.source.scale.double() * scale.double()
            largest = max(map(abs, self.source.bounds))
        reach = float(codes.abs().flatten(1).sum(1).max()) * largest
        integers = None if self.source is None or bias is None or not self.is_biased else _integer_bias(bias, unit)
        if integers is not None and float(integers.abs().max()) + reach >= 1 << 31:
            integers = None
        reach += 0 if integers is None else float(integers.abs().max())
        kind = torch.float32 if reach < _EXACT else torch.float64
        y = self._product(steps.to(kind), codes.to(kind), None)
        if integers is not None:
            y = y + self._channels(integers.to(kind), y.ndim)
        y = y.float() * self._channels(unit.float(), y.ndim)
        return y if integers is not None or bias is None else y + self._channels(bias, y.ndim)

    def _product(self, x: Tensor, weights: Tensor, bias: Tensor | None) -> Tensor:
        if isinstance(self.layer, nn.Linear):
            return functional.linear(x, weights, bias)
        return cast(Tensor, self.layer._conv_forward(x, weights, bias))

    def _channels(self, array: Tensor, rank: int) -> Tensor:
        """Numbers of channels in a shape that broadcasts with results."""
        if not array.ndim or isinstance(self.layer, nn.Linear):
            return array
        return array.reshape(-1, *(1,) * (self.weight.ndim - 2))

    @property
    def described(self) -> dict[str, Any]:
        return {"reads": self.reads.name}

    def get_extra_state(self) -> dict[str, Any]:
        return {**super().get_extra_state(), "frozen": self.frozen}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.frozen = state["frozen"]


def _integer_bias(bias: Tensor, unit: Tensor) -> Tensor:
    """The bias in units of both scales, as the model stores it and the compiler reads it; f64."""
    stored = torch.round(bias.double() / unit)
    return torch.round(stored * unit.float().double() / unit)


def _shell(layer: Product) -> Product:
    shell = copy.copy(layer)
    shell._parameters = dict.fromkeys(layer._parameters)
    return shell


def _signs(x: Tensor) -> Tensor:
    """1 where x is at least 0, otherwise -1; the gradient goes straight through from -1 to 1 (arXiv:1602.02830)."""
    signs = torch.where(x >= 0, 1.0, -1.0)
    return replaced(x.clamp(-1, 1), signs) if torch.is_grad_enabled() else signs
