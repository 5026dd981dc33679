"""What a quantised model is, apart from its graph: a scale and a zero point for each value and weight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from edgesmith.ir import DType

__all__ = ["Parameters", "QParams", "Range", "Wide"]

Range = tuple[float, float]
"""Lowest and highest real number that a value's integers represent."""


@dataclass(frozen=True, eq=False)
class QParams:
    """How integers stand for real numbers: real = (integer - zero) * scale.

    Args:
        scale: f32, above 0; one number (shape ``()``), or one for each index of ``axis``.
        zero: zero point, of ``dtype`` and the shape of ``scale``.
        dtype: type of the integers.
        axis: axis of the tensor that scales and zero points belong to; None: one for the whole tensor.
        low: smallest integer in use (weights leave out -128, so that their range is symmetric); None: the type's.
        high: largest integer in use (weights of fewer bits); None: the type's.
    """

    scale: np.ndarray
    zero: np.ndarray
    dtype: DType
    axis: int | None = None
    low: int | None = None
    high: int | None = None

    @property
    def key(self) -> tuple[bytes, bytes, DType, int | None]:
        """Equal for parameters that mean the same."""
        return self.scale.tobytes(), self.zero.tobytes(), self.dtype, self.axis

    @property
    def limits(self) -> tuple[int, int]:
        """Smallest and largest integer in use."""
        low, high = self.dtype.limits
        return low if self.low is None else self.low, high if self.high is None else self.high

    def along(self, array: np.ndarray, rank: int) -> np.ndarray:
        """Scales or zero points in a shape that broadcasts with a tensor of ``rank`` axes."""
        if self.axis is None:
            return array.reshape(())
        return array.reshape([-1 if a == self.axis else 1 for a in range(rank)])

    def steps(self, x: np.ndarray) -> np.ndarray:
        """x / scale + zero as f64, neither rounded nor bounded: what AdaRound rounds its own way."""
        return np.asarray(x.astype(np.float64) / self.along(self.scale, x.ndim) + self.along(self.zero, x.ndim))

    def quantize(self, x: np.ndarray) -> np.ndarray:
        """The integers of ``x``, as QuantizeLinear computes them in f32: nearest, ties to even, saturated."""
        steps = np.rint(x.astype(np.float32) / self.along(self.scale, x.ndim))
        steps = steps + self.along(self.zero, x.ndim).astype(np.float32)
        return np.asarray(np.clip(steps, *self.limits).astype(self.dtype.numpy))

    def dequantize(self, q: np.ndarray) -> np.ndarray:
        """The f32 numbers that integers stand for."""
        offset = q.astype(np.int64) - self.along(self.zero, q.ndim).astype(np.int64)
        return np.asarray(offset.astype(np.float32) * self.along(self.scale, q.ndim))

    def range(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest number that the integers represent, for each scale."""
        first, last = self.limits
        zero = self.zero.astype(np.float64)
        return (first - zero) * self.scale, (last - zero) * self.scale


@dataclass(frozen=True)
class Wide:
    """Why values that movement alone connects are not stored in 8 bits.

    Args:
        value: the first of them that arithmetic reads.
        noise: share of the noise at the outputs that rounding them to 8 bits would make, of that of all values.
        work: share of the network's work that gets slower.
    """

    value: str
    noise: float
    work: float


@dataclass(frozen=True, eq=False)
class Parameters:
    """All parameters of a quantised model. What has none stays in floats.

    Args:
        values: by the name of a computed f32 value or graph input: how it is rounded where integers read it.
        weights: by the name of a Conv, Gemm or MatMul node: how its weights (its second input) are rounded. A node
            that is not here is computed in floats.
        integers: by node name, integers for its weights other than the nearest ones (AdaRound, GPTQ), shaped like them.
        wide: values that are in floats, or in 16 bits, because of their noise, by name.
    """

    values: Mapping[str, QParams] = field(default_factory=dict)
    weights: Mapping[str, QParams] = field(default_factory=dict)
    integers: Mapping[str, np.ndarray] = field(default_factory=dict)
    wide: Mapping[str, Wide] = field(default_factory=dict)
