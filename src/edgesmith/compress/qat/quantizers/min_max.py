"""Ranges from what weights and values are (Jacob et al., arXiv:1712.05877, sections 3 and 3.1)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgesmith.compress.qat.quantizers.base import ActivationQuantizer, Coded, WeightQuantizer, activations, weights
from edgesmith.compress.qat.rounding import rounded
from edgesmith.quantize import QParams
from edgesmith.quantize.scales import value_parameters

__all__ = ["EmaActivations", "MinMaxWeights"]

MOMENTUM = 0.99
"""Weight of the past in an average of extremes."""


@weights("min-max")
class MinMaxWeights(WeightQuantizer):
    """The largest weight of a channel (or of all) is the largest integer."""

    def forward(self, weights: Tensor, ratio: Tensor, floor: Tensor) -> Tensor:
        scale = self.along(self._scale(weights, floor), weights.ndim)
        return rounded(weights, scale, self.low, self.high)

    def coded(self, weights: Tensor, ratio: Tensor, floor: Tensor) -> Coded:
        return self.nearest(weights, self._scale(weights, floor))

    def _scale(self, weights: Tensor, floor: Tensor) -> Tensor:
        size = weights.detach().abs()
        largest = size.flatten(1).amax(1) if self.start.ndim else size.amax()
        scale = (largest.double() / self.high).float()
        return torch.maximum(torch.where(largest > 0, scale, self.start), floor)


@activations("ema")
class EmaActivations(ActivationQuantizer):
    """The extremes of each training batch, averaged exponentially; the zero point moves with them until ``freeze``."""

    low: Tensor
    high: Tensor

    def __init__(self, start: QParams) -> None:
        super().__init__(start)
        low, high = (torch.tensor(float(bound)) for bound in start.range())
        self.register_buffer("low", low)
        self.register_buffer("high", high)
        first, last = self.dtype.limits
        self._is_symmetric = self.zero == (first + last + 1) // 2
        self.frozen = False

    @property
    def scale(self) -> Tensor:
        return self.start

    def forward(self, x: Tensor) -> Tensor:
        if self.training and not self.frozen:
            self._follow(x.detach())
        return super().forward(x)

    def freeze(self) -> None:
        self.frozen = True

    def _follow(self, x: Tensor) -> None:
        low, high = torch.aminmax(x)
        self.low.lerp_(low.clamp_max(0).to(self.low.dtype), 1 - MOMENTUM)
        self.high.lerp_(high.clamp_min(0).to(self.high.dtype), 1 - MOMENTUM)
        found = value_parameters((float(self.low), float(self.high)), self.dtype, symmetric=self._is_symmetric)
        self.zero = int(found.zero)
        self.start.copy_(torch.from_numpy(np.array(found.scale)))

    def get_extra_state(self) -> dict[str, Any]:
        return {**super().get_extra_state(), "frozen": int(self.frozen)}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        super().set_extra_state(state)
        self.frozen = bool(state["frozen"])
