"""Scales and zero points from ranges."""

from __future__ import annotations

import math

import numpy as np

from edgesmith.ir import DType
from edgesmith.quantize.parameters import QParams, Range
from edgesmith.quantize.products import MAX_BIAS, Product
from edgesmith.quantize.settings import LARGEST_I16, Settings

__all__ = ["activation_parameters", "value_parameters", "weight_parameters"]

_TINY = float(np.finfo(np.float32).tiny)
_SMALLEST = 2.0**-60
"""Least scale of a value, so that products of scales are normal f32 numbers."""
_FAINTEST = 2.0**-24
"""Least scale of a channel of weights, as a share of the largest channel's: what is smaller vanishes in any sum."""
_BIAS_BITS = 22
"""Resolution of the bias of a channel whose weights are all zero."""


def activation_parameters(range: Range, settings: Settings) -> QParams:
    """The parameters of a value between two real numbers, by the settings; 0 is always represented exactly."""
    symmetric, power = settings.is_symmetric, settings.power_of_two
    return value_parameters(range, settings.activation_type, symmetric=symmetric, power_of_two=power)


def value_parameters(range: Range, dtype: DType, *, symmetric: bool = False, power_of_two: bool = False) -> QParams:
    """The parameters of integers of ``dtype`` for the numbers of ``range``, widened to hold 0.

    Args:
        symmetric: the zero point is the middle of the integers, and the range reaches as far down as up.
        power_of_two: the scale is the next power of two above.
    """
    low, high = min(range[0], 0.0), max(range[1], 0.0)
    first, last = dtype.limits
    middle = (first + last + 1) // 2
    scale = max(-low, high) / (last - middle) if symmetric else (high - low) / (last - first)
    scale = max(scale, _SMALLEST)
    if power_of_two:
        scale = 2.0 ** math.ceil(math.log2(scale))
    rounded = np.float32(scale)
    zero = middle if symmetric else int(np.clip(first + round(-low / float(rounded)), first, last))
    return QParams(np.asarray(rounded), np.asarray(zero, dtype.numpy), dtype)


def weight_parameters(form: Product, x: QParams, settings: Settings) -> QParams:
    """The parameters of a product's weights: i8 or part of its range, or i16, by the settings.

    A channel's scale is large enough for its bias to fit 30 bits in units of the scales of input and weights, and for
    the products of scales to be normal numbers.

    Args:
        x: the parameters of its input.
    """
    if settings.kind.weights is DType.I16:
        return _parameters_i16(form, x, settings)
    axis = form.axis if settings.per_channel else None
    others = tuple(a for a in range(form.weights.ndim) if a != axis)
    low = np.minimum(form.weights.min(axis=others), 0).astype(np.float64)
    high = np.maximum(form.weights.max(axis=others), 0).astype(np.float64)
    half = settings.largest_weight + 1
    scale = (
        np.maximum(-low, high) / settings.largest_weight
        if settings.symmetric_weights
        else (high - low) / (2 * half - 1)
    )
    scale = _large_enough(scale, form, float(x.scale), by_channel=axis is not None)
    if settings.power_of_two:
        scale = np.exp2(np.ceil(np.log2(scale)))
    scale = np.asarray(scale, np.float32)
    if settings.symmetric_weights:
        return QParams(scale, np.zeros(scale.shape, np.int8), DType.I8, axis, 1 - half, half - 1)
    zero = np.clip(np.rint(-half - low / scale), -half, half - 1)
    return QParams(scale, np.asarray(zero, np.int8), DType.I8, axis, -half, half - 1)


def _parameters_i16(form: Product, x: QParams, settings: Settings) -> QParams:
    """Those of i16 weights; whether the bias fits an integer in their units makes no difference to wide sums."""
    axis = form.axis if settings.per_channel else None
    others = tuple(a for a in range(form.weights.ndim) if a != axis)
    largest = np.abs(form.weights).max(axis=others).astype(np.float64)
    scale = _above_nothing(largest / LARGEST_I16, form, float(x.scale))
    if settings.power_of_two:
        scale = np.exp2(np.ceil(np.log2(scale)))
    scale = np.asarray(scale, np.float32)
    return QParams(scale, np.zeros(scale.shape, np.int16), DType.I16, axis, -LARGEST_I16, LARGEST_I16)


def _large_enough(scale: np.ndarray, form: Product, x_scale: float, *, by_channel: bool) -> np.ndarray:
    bias = np.zeros(form.channels) if form.bias is None else np.abs(form.bias.astype(np.float64) * form.bias_gain)
    if not by_channel:
        bias = bias.max(initial=0.0)
    factor = x_scale * form.gain
    scale = _above_nothing(scale, form, x_scale)
    return np.asarray(np.maximum(scale, bias / (factor * MAX_BIAS / 2)))


def _above_nothing(scale: np.ndarray, form: Product, x_scale: float) -> np.ndarray:
    """Scales that are normal numbers, and so are their products with the input's; those of zeros are like others."""
    bias = 0.0 if form.bias is None else float(np.abs(form.bias.astype(np.float64) * form.bias_gain).max(initial=0.0))
    factor = x_scale * form.gain
    used = scale[scale > 0]
    unused = used.min() if used.size else max(bias / (factor * 2.0**_BIAS_BITS), _SMALLEST)
    scale = np.where(scale > 0, scale, unused)
    return np.asarray(np.maximum(scale, max(np.max(scale) * _FAINTEST, _TINY * 2 / factor, _SMALLEST)))
