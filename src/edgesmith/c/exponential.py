"""The exponential function in either precision, and its parts for functions that need no more than these."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgesmith.c.expr import Expr, call, const, polynomial
from edgesmith.ir import DType

__all__ = ["Reduced", "bias", "exponential", "reduced"]


@dataclass(frozen=True)
class _Format:
    """Args:
    ln2_high: leading bits of ln 2, so few that their product with any exponent is exact.
    ln2_low: ln 2 - ln2_high.
    tail: (e**r - 1 - r) / r**2 for |r| <= ln(2) / 2 as a polynomial, highest power first.
    smallest, largest: arguments beyond which e**x certainly is 0, infinite.
    """

    ln2_high: float
    ln2_low: float
    tail: Sequence[float]
    smallest: float
    largest: float


_FORMATS = {
    DType.F32: _Format(
        0.693359375,
        -2.12194440e-4,
        (0.00139507349, 0.00836902474, 0.0416662021, 0.166665177, 0.50000001),
        -104.0,
        89.0,
    ),
    DType.F64: _Format(
        6.93147180369123816490e-01,
        1.90821492927058770002e-10,
        tuple(1 / math.factorial(k) for k in range(13, 1, -1)),
        -746.0,
        710.0,
    ),
}
_SIGNIFICAND_BITS = {DType.F32: 23, DType.F64: 52}
_EXPONENT_BIAS = {DType.F32: 127, DType.F64: 1023}


def bias(dtype: DType) -> float:
    """Adding it to n rounds n to the nearest integer and puts the exponent field of 2**n into the low bits."""
    return 1.5 * 2.0 ** _SIGNIFICAND_BITS[dtype] + _EXPONENT_BIAS[dtype]


@dataclass(frozen=True)
class Reduced:
    """e**(sign x) as 2**n e**(sign r) with an integer n and |r| <= ln(2) / 2.

    Args:
        biased: n + ``bias``.
    """

    biased: Expr
    n: Expr
    r: Expr

    @property
    def scale(self) -> Expr:
        """2**n; 0 for n = -127, infinite for n = 128 (f64: -1023, 1024)."""
        return call("exp2_biased", self.biased)

    @property
    def excess(self) -> Expr:
        """e**r - 1, for sign 1."""
        return call("fma", self.r * self.r, polynomial(self.r, _FORMATS[self.r.dtype].tail), self.r)

    @property
    def power(self) -> Expr:
        """e**r, for sign 1."""
        return polynomial(self.r, [*_FORMATS[self.r.dtype].tail, 1.0, 1.0])


def reduced(x: Expr, sign: int = 1) -> Reduced:
    """The parts of e**(sign x) (W. J. Cody and W. Waite, "Software Manual for the Elementary Functions", 1980).

    Args:
        sign: 1 or -1.
    """
    form, offset = _FORMATS[x.dtype], bias(x.dtype)
    biased = _fma(x, sign / math.log(2), const(offset, x.dtype))
    n = biased - offset
    return Reduced(biased, n, _fma(n, -sign * form.ln2_low, _fma(n, -sign * form.ln2_high, x)))


def exponential(x: Expr) -> Expr:
    """e**x within 1.25 ULP of f32, 1.5 of f64; also where that is denormal."""
    form, offset = _FORMATS[x.dtype], bias(x.dtype)
    parts = reduced(call("min", form.largest, call("max", form.smallest, x)))
    # 2**n need not be a normal number, but 2**(n / 2) is.
    half = _fma(parts.n, 0.5, const(offset, x.dtype))
    rest = parts.biased - (half - offset)
    return parts.power * call("exp2_biased", half) * call("exp2_biased", rest)


def _fma(a: Expr, factor: float, c: Expr) -> Expr:
    return call("fma", a, const(factor, a.dtype), c)
