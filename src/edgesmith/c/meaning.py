"""What primitives mean where numpy has no function for it."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import ml_dtypes
import numpy as np

__all__ = [
    "bf16_bits",
    "byte_products",
    "convert",
    "divide",
    "dot2",
    "dot2_planes",
    "dot4",
    "dot4_i8",
    "dot4_planes",
    "exp2_biased",
    "f16_bits",
    "fma",
    "from_bf16",
    "from_f16",
    "maximum",
    "minimum",
    "mla_f16",
    "of_halves",
    "power",
    "quarter_turns",
    "round_bf16",
    "round_f16",
    "sigmoid",
    "stored_rounded",
    "zipped",
]

_TWO_OVER_PI = Fraction(0xA2F9836E4E441529FC2757D1F534DDC0DB6295993C439041FE5163AB, 1 << 224)


def fma(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    return np.asarray(a.astype(np.float64) * b + c, a.dtype)


def exp2_biased(a: np.ndarray) -> np.ndarray:
    """The number whose bits above the significand are the low bits of ``a``."""
    if a.dtype == np.float32:
        return np.asarray((a.view(np.uint32) << np.uint32(23)).view(np.float32))
    return np.asarray((a.view(np.uint64) << np.uint64(52)).view(np.float64))


def sigmoid(x: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-x)))


def divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a / b, truncated for integers, where dividing by 0 gives 0."""
    if not np.issubdtype(a.dtype, np.integer):
        return np.asarray(np.divide(a, b))
    floored = np.floor_divide(a, b)
    inexact = np.not_equal(floored * b, a) & np.not_equal(b, 0)
    return np.asarray(floored + (inexact & ((a < 0) != (b < 0))))


def maximum(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The larger; the second where either is NaN."""
    return np.asarray(np.where(a > b, a, b))


def minimum(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The smaller; the second where either is NaN."""
    return np.asarray(np.where(a < b, a, b))


def power(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a to the b; for integers wrapping around, truncated where b is negative."""
    if not np.issubdtype(a.dtype, np.integer):
        return np.asarray(np.power(a, b))
    inverse = np.where(a == 1, 1, np.where(a == -1, 1 - 2 * (b & 1), 0))
    return np.where(b < 0, inverse, np.power(a, np.maximum(b, 0)))


def convert(a: np.ndarray, dtype: np.dtype[np.generic]) -> np.ndarray:
    """Cast; floats to integers truncate and saturate, NaN gives 0."""
    if not np.issubdtype(a.dtype, np.floating) or not np.issubdtype(dtype, np.integer):
        return a.astype(dtype)
    limits = np.iinfo(dtype)  # type: ignore[type-var]
    too_large, too_small = a >= float(int(limits.max) + 1), a <= float(limits.min)
    inside = np.where(too_large | too_small | np.isnan(a), 0, a).astype(dtype)
    return np.where(too_large, limits.max, np.where(too_small, limits.min, inside)).astype(dtype)


def from_bf16(bits: np.ndarray) -> np.ndarray:
    """The f32 numbers whose upper halves are given."""
    return np.asarray((bits.astype(np.uint32) << np.uint32(16)).view(np.float32))


def bf16_bits(x: np.ndarray) -> np.ndarray:
    """The upper halves of f32 numbers."""
    return np.asarray((x.view(np.uint32) >> np.uint32(16)).astype(np.uint16))


def round_bf16(x: np.ndarray) -> np.ndarray:
    """The nearest f32 numbers that bf16 can hold, ties to even."""
    return np.asarray(x.astype(ml_dtypes.bfloat16).astype(np.float32))


def from_f16(bits: np.ndarray, half: int | None = None) -> np.ndarray:
    """Numbers of fp16, given as their bits, as f32; all of them, or those of the lower (0) or the upper half (1)."""
    numbers = bits.view(np.float16).astype(np.float32)
    return numbers if half is None else np.split(numbers, 2)[half]


def f16_bits(x: np.ndarray) -> np.ndarray:
    """f32 numbers as fp16, ties to even: the bits."""
    return np.asarray(x.astype(np.float16).view(np.uint16))


def round_f16(x: np.ndarray) -> np.ndarray:
    """The nearest f32 numbers that fp16 can hold, ties to even."""
    return np.asarray(x.astype(np.float16).astype(np.float32))


def of_halves(function: Callable[..., np.ndarray], a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """A function of fp16, two in each i32, rounded once."""
    result = function(*(v.view(np.float16).astype(np.float64) for v in (a, b)))
    return np.asarray(result.astype(np.float16).view(np.int32))


def mla_f16(c: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """c + a * b of fp16, two in each i32, rounded once."""
    wide_a, wide_b, wide_c = (v.view(np.float16).astype(np.float64) for v in (a, b, c))
    return np.asarray((wide_c + wide_a * wide_b).astype(np.float16).view(np.int32))


def dot2(c: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """c plus the products of the two i16 in each i32 of a and b."""
    return _dot(c, a.view(np.int16), b.view(np.int16))


def dot4(c: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """c plus the products of the four u8 in each i32 of a with the four i8 of b."""
    return _dot(c, a.view(np.uint8), b.view(np.int8))


def dot4_i8(c: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """c plus the products of the four i8 in each i32 of a with those of b."""
    return _dot(c, a.view(np.int8), b.view(np.int8))


def dot1(c: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """c plus a times b."""
    return _dot(c, a, b)


def dot4_i16(c: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """c plus the products of four i16 a lane; of both factors first two numbers of every lane, then the others."""
    low, high = np.split(a, 2), np.split(b, 2)
    return dot2(dot2(c, low[0], high[0]), low[1], high[1])


def quad_i16(p: np.ndarray) -> np.ndarray:
    """The first four numbers: two in every lane, then the other two in every lane."""
    return np.repeat(p[:4].view(np.int32), p.size // 4)


def halves(p: np.ndarray) -> np.ndarray:
    """Of four i8 a lane the first and third as i16 in every lane, then the second and fourth."""
    wide = p.astype(np.int16).reshape(-1, 4)
    return np.concatenate([wide[:, 0::2].reshape(-1), wide[:, 1::2].reshape(-1)]).view(np.int32)


def stored_rounded(p: np.ndarray, v: np.ndarray, x: int) -> np.ndarray:
    """v rounded to nearest even plus x, saturated to the type of p; NaN gives the smallest number."""
    limits = np.iinfo(p.dtype)
    return np.asarray(np.clip(np.rint(np.nan_to_num(v, nan=-np.inf)) + np.float32(x), limits.min, limits.max)).astype(
        p.dtype
    )


def dot2_planes(c: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """As ``dot2``; a is the same in all lanes, b holds the first i16 of every lane, then the other ones."""
    return dot2(c, a, b.view(np.int16).reshape(2, -1).T.reshape(-1).view(np.int32))


def dot4_planes(c: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """As ``dot4_i8``; a is the same in all lanes, b holds the first two i8 of every lane, then the other two."""
    by_lane = b.view(np.int8).reshape(2, -1, 2).transpose(1, 0, 2)
    return dot4_i8(c, a, by_lane.reshape(-1).view(np.int32))


def two_rows(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Eight bytes of a, eight of b, and so on; as many as a has."""
    bytes_ = np.concatenate([a[:8], b[:8]])
    return np.resize(bytes_, a.size // 2).view(np.int32)


def dot8_pairs(c: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """c + sums of eight products of u8 of a with i8 of b, of two rows with two in every four lanes."""
    lane, k = np.arange(c.size)[:, None], np.arange(8)
    row, other = (lane // 4 * 16 + at * 8 + k for at in (lane % 4 // 2, lane % 2))
    x, y = a.view(np.uint8).astype(np.int32), b.view(np.int8).astype(np.int32)
    return np.asarray(c + (x[row % x.size] * y[other % y.size]).sum(1, dtype=np.int32))


def byte_products(a: np.ndarray, b: np.ndarray, half: int) -> np.ndarray:
    """Products, as i16, of the i8 in the lower halves (0) or in the upper halves (1) of a and b."""
    x, y = (v.view(np.int8).reshape(2, -1)[half].astype(np.int16) for v in (a, b))
    return np.asarray(x * y)


def zipped(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Bytes of a and b as the lower and the upper i16 of each i32."""
    return np.stack([a, b], 1).astype(np.int16).reshape(-1).view(np.int32)


def _dot(c: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    products = a.astype(np.int64) * b.astype(np.int64)
    return np.asarray(c + products.reshape(c.size, -1).sum(1)).astype(np.int32)


def quarter_turns(x: np.ndarray) -> np.ndarray:
    """x * 2 / pi modulo 4, from -2 to 2, as f64; NaN for infinities."""

    def exact(value: float) -> float:
        if not np.isfinite(value):
            return float("nan")
        turns = Fraction(float(value)) * _TWO_OVER_PI
        return float(turns - 4 * round(turns / 4))

    return np.asarray(np.vectorize(exact, otypes=[np.float64])(x))
