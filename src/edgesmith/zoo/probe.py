"""What a layer does to a small calibration batch: float64 numpy, NCHW.

The builder sends this batch through every layer so that batch-norm statistics and biases fit the weights, as they would
after training. float64 and the rounding in ``round_bits`` make the stored statistics independent of the BLAS in use.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from itertools import product

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Array = NDArray[np.float64]
Pair = tuple[int, int]
Pads = tuple[int, int, int, int]  # top, left, bottom, right: the order of ONNX

__all__ = [
    "Array",
    "Pads",
    "Pair",
    "average_pool",
    "conv",
    "conv_transpose",
    "images",
    "lrn",
    "max_pool",
    "resample",
    "round_bits",
    "round_mean",
    "window_count",
]

MANTISSA_BITS = 8


def images(rng: np.random.Generator, shape: Sequence[int]) -> Array:
    """Zero-mean, unit-variance pictures of ``shape`` (N, C, H, W), from white noise (first) to coarse blobs (last)."""
    batch, channels, height, width = shape
    coarse = rng.standard_normal((batch, channels, -(-height // 8), -(-width // 8)))
    blobs = np.kron(coarse, np.ones((8, 8)))[:, :, :height, :width]
    share = np.linspace(0.0, 1.0, batch).reshape(batch, 1, 1, 1)
    return np.asarray(np.sqrt(share) * blobs + np.sqrt(1.0 - share) * rng.standard_normal(shape))


def window_count(size: int, kernel: int, stride: int, pad: int, dilation: int = 1, ceil: bool = False) -> int:
    """Output pixels along one axis; ``pad`` is the sum of both sides. Zero or less when the input is too small."""
    free = size + pad - dilation * (kernel - 1) - 1
    return (-(-free // stride) if ceil else free // stride) + 1


def resample(x: Array, size: Pair) -> Array:
    """Nearest-neighbour resize to ``size`` (H, W)."""
    rows = np.arange(size[0]) * x.shape[2] // size[0]
    columns = np.arange(size[1]) * x.shape[3] // size[1]
    return x[:, :, rows[:, None], columns]


def _windows(x: Array, kernel: Pair, stride: Pair, pads: Pads, dilation: int, fill: float) -> Array:
    top, left, bottom, right = pads
    if any(pads):
        x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=fill)
    extent = tuple(min(dilation * (k - 1) + 1, size) for k, size in zip(kernel, x.shape[2:], strict=True))
    view = sliding_window_view(x, extent, axis=(2, 3))
    return view[:, :, :: stride[0], :: stride[1], ::dilation, ::dilation]


def conv(x: Array, weight: Array, stride: Pair, pads: Pads, groups: int, dilation: int) -> Array:
    """Convolution without bias; ``weight`` is (M, C / groups, kH, kW)."""
    windows = _windows(x, (weight.shape[2], weight.shape[3]), stride, pads, dilation, 0.0)
    kernel = windows.shape[4:]  # a batch smaller than the kernel sees the part that fits
    weight = weight[:, :, : kernel[0], : kernel[1]]
    if weight.shape[1] == 1 and weight.shape[0] == groups:
        return np.asarray(np.einsum("nchwij,cij->nchw", windows, weight[:, 0]))
    batch, _, height, width = windows.shape[:4]
    columns = windows.transpose(0, 1, 4, 5, 2, 3).reshape(batch, groups, -1, height * width)
    out = weight.reshape(groups, len(weight) // groups, -1) @ columns
    return np.asarray(out.reshape(batch, len(weight), height, width))


def conv_transpose(x: Array, weight: Array) -> Array:
    """Transposed convolution whose stride equals its kernel; ``weight`` is (C, M, kH, kW)."""
    batch, _, height, width = x.shape
    _, channels, rows, columns = weight.shape
    blocks = np.tensordot(x, weight, axes=(1, 0))
    return blocks.transpose(0, 3, 1, 4, 2, 5).reshape(batch, channels, height * rows, width * columns)


def _cover(size: int, kernel: int, stride: int, pad: int, ceil: bool) -> int:
    missing = (window_count(size, kernel, stride, pad, ceil=ceil) - 1) * stride + kernel - size - pad
    return max(missing, 0)


def _pool(x: Array, kernel: int, stride: int, pads: Pads, ceil: bool, fill: float, combine: np.ufunc) -> Array:
    top, left, bottom, right = pads
    bottom += _cover(x.shape[2], kernel, stride, top + bottom, ceil)
    right += _cover(x.shape[3], kernel, stride, left + right, ceil)
    windows = _windows(x, (kernel, kernel), (stride, stride), (top, left, bottom, right), 1, fill)
    taps = product(range(windows.shape[4]), range(windows.shape[5]))
    return np.asarray(reduce(combine, (windows[..., i, j] for i, j in taps)))


def max_pool(x: Array, kernel: int, stride: int, pads: Pads, ceil: bool) -> Array:
    """Largest value of each window."""
    return _pool(x, kernel, stride, pads, ceil, -np.inf, np.maximum)


def average_pool(x: Array, kernel: int, stride: int, pads: Pads, include_pad: bool) -> Array:
    """Mean of each window, over its padding too when ``include_pad``."""
    total = _pool(x, kernel, stride, pads, False, 0.0, np.add)
    count = _pool(np.ones_like(x[:1, :1]), kernel, stride, pads, False, float(include_pad), np.add)
    return np.asarray(total / count)


def lrn(x: Array, size: int, alpha: float, beta: float, bias: float) -> Array:
    """Local response normalisation across ``size`` channels (ONNX LRN)."""
    before = (size - 1) // 2
    squares = np.pad(x * x, ((0, 0), (before, size - 1 - before), (0, 0), (0, 0)))
    energy = sliding_window_view(squares, size, axis=1).sum(axis=-1)
    return np.asarray(x / (bias + alpha / size * energy) ** beta)


def round_bits(x: Array) -> Array:
    """Round to ``MANTISSA_BITS`` significant bits."""
    mantissa, exponent = np.frexp(x)
    return np.asarray(np.ldexp(np.round(mantissa * 2**MANTISSA_BITS), exponent - MANTISSA_BITS))


def round_mean(mean: Array, deviation: Array | float) -> Array:
    """Round to a power-of-two step of about 1/64 of the standard deviation; never negative zero."""
    step = np.exp2(np.floor(np.log2(deviation)) - 6)
    return np.asarray(np.round(mean / step) * step + 0.0)
