"""What every quantiser has in common, and the registries of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from edgesmith.compress.qat.described_state import DescribedState
from edgesmith.compress.qat.rounding import ScaleGradient, rounded
from edgesmith.ir import DType
from edgesmith.quantize import QParams
from edgesmith.registry import Registry

__all__ = ["ACTIVATIONS", "WEIGHTS", "ActivationQuantizer", "Coded", "WeightQuantizer", "activations", "weights"]


LEARNED = ("factor",)
"""Names of parameters that scales are learned by: there is nothing to be had from smaller ones."""


class Coded(NamedTuple):
    """Weights as integers.

    Attributes:
        codes: integers as f32, shaped like the weights.
        scale: f32, one for each output channel (axis 0), or one for all (shape ``()``).
    """

    codes: Tensor
    scale: Tensor


class WeightQuantizer(DescribedState, ABC):
    """Rounds the weights of one layer, which are those after batch normalisation is folded in.

    Args:
        start: how post-training quantisation would round ``weights``; scales for each index of axis 0, or one for all.
        weights: f32, output channels along axis 0.
        bits: of the integers.
    """

    name: ClassVar[str]
    without_weight_decay: ClassVar[tuple[str, ...]] = LEARNED
    are_signs: ClassVar[bool] = False
    """Whether the integers are -1, 0 and 1."""
    low: int
    high: int

    def __init__(self, start: QParams, weights: Tensor, bits: int) -> None:
        super().__init__()
        self.bits = bits
        self.low, self.high = start.limits
        self.register_buffer("start", torch.from_numpy(np.array(start.scale)))
        self.start: Tensor

    @property
    def described(self) -> dict[str, Any]:
        return {"weights": self.name, "integers": [self.low, self.high]}

    @abstractmethod
    def forward(self, weights: Tensor, ratio: Tensor, floor: Tensor) -> Tensor:
        """What the integers of ``weights`` stand for, differentiable.

        Args:
            ratio: what folding multiplies each channel by, in units of what it did at the start; shape ``(channels,)``.
            floor: least scale of each channel, for its bias to fit integers; of the shape of the scales.
        """

    @abstractmethod
    def coded(self, weights: Tensor, ratio: Tensor, floor: Tensor) -> Coded:
        """The integers of ``weights``, and their scale."""

    def freeze(self) -> None:
        """Stop following the weights' statistics, where that is what the quantiser does."""

    def along(self, scale: Tensor, rank: int) -> Tensor:
        """Scales in a shape that broadcasts with weights of ``rank`` axes."""
        return scale.reshape(-1, *(1,) * (rank - 1)) if scale.ndim else scale

    def nearest(self, weights: Tensor, scale: Tensor) -> Coded:
        """The nearest integers under ``scale``, ties to even."""
        codes = (weights / self.along(scale, weights.ndim)).round_().clamp_(self.low, self.high)
        return Coded(codes, scale)


class ActivationQuantizer(DescribedState, ABC):
    """Rounds values that share one scale.

    Args:
        start: how post-training quantisation would round them.
    """

    name: ClassVar[str]
    without_weight_decay: ClassVar[tuple[str, ...]] = LEARNED
    gradient: ClassVar[ScaleGradient] = ScaleGradient.NONE

    def __init__(self, start: QParams) -> None:
        super().__init__()
        self.dtype: DType = start.dtype
        self.zero = int(start.zero)
        self.register_buffer("start", torch.from_numpy(np.array(start.scale)))
        self.start: Tensor

    @property
    def described(self) -> dict[str, Any]:
        return {"values": self.name, "integers": self.dtype.value}

    @property
    @abstractmethod
    def scale(self) -> Tensor:
        """f32, shape ``()``."""

    @property
    def bounds(self) -> tuple[int, int]:
        """Smallest and largest integer, less the zero point."""
        low, high = self.dtype.limits
        return low - self.zero, high - self.zero

    def forward(self, x: Tensor) -> Tensor:
        """What the integers of ``x`` stand for, differentiable."""
        return rounded(x, self.scale, *self.bounds, self.gradient)

    def steps(self, x: Tensor) -> Tensor:
        """The integers of ``x`` less the zero point, as f32."""
        low, high = self.bounds
        return (x / self.scale).round_().clamp_(low, high)

    def parameters_now(self) -> QParams:
        """Scale and zero point as they are."""
        scale = self.scale.detach().cpu().numpy().astype(np.float32)
        return QParams(np.asarray(scale), np.asarray(self.zero, self.dtype.numpy), self.dtype)

    def freeze(self) -> None:
        """Stop following the values' statistics, where that is what the quantiser does."""

    def get_extra_state(self) -> dict[str, Any]:
        return {**super().get_extra_state(), "zero": self.zero}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.zero = state["zero"]


WEIGHTS: Registry[type[WeightQuantizer]] = Registry("quantiser of weights", "edgesmith.compress.qat.quantizers")
ACTIVATIONS: Registry[type[ActivationQuantizer]] = Registry(
    "quantiser of activations", "edgesmith.compress.qat.quantizers"
)

W = TypeVar("W", bound=WeightQuantizer)
A = TypeVar("A", bound=ActivationQuantizer)


def weights(name: str) -> Callable[[type[W]], type[W]]:
    """Class decorator: registers a quantiser of weights."""

    def add(cls: type[W]) -> type[W]:
        cls.name = name
        WEIGHTS.register(name)(cls)
        return cls

    return add


def activations(name: str) -> Callable[[type[A]], type[A]]:
    """Class decorator: registers a quantiser of activations."""

    def add(cls: type[A]) -> type[A]:
        cls.name = name
        ACTIVATIONS.register(name)(cls)
        return cls

    return add
