"""The natural logarithm in either precision."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgesmith.c.expr import Expr, call, const, polynomial, select
from edgesmith.ir import DType

__all__ = ["logarithm"]


@dataclass(frozen=True)
class _Format:
    """Args:
    ln2_high: leading bits of ln 2, so few that their product with any exponent is exact.
    ln2_low: ln 2 - ln2_high.
    terms: number of terms of the series of artanh.
    smallest: the smallest normal number.
    scale: power of 2 that makes every denormal number normal.
    """

    ln2_high: float
    ln2_low: float
    terms: int
    smallest: float
    scale: int


_FORMATS = {
    DType.F32: _Format(0.693359375, -2.12194440e-4, 5, 2.0**-126, 24),
    DType.F64: _Format(6.93147180369123816490e-01, 1.90821492927058770002e-10, 11, 2.0**-1022, 53),
}


def logarithm(x: Expr) -> Expr:
    """ln x within 1 ULP; -infinity for 0, NaN below 0."""
    form = _FORMATS[x.dtype]
    denormal = x < form.smallest
    scaled = select(denormal, x * 2.0**form.scale, x)
    m, e = call("significand", scaled), call("exponent", scaled)
    high = m > math.sqrt(2)
    m = select(high, m * 0.5, m)
    e = select(high, e + 1.0, e) - select(denormal, const(form.scale, x.dtype), const(0, x.dtype))
    # ln m = 2 artanh(s), s = (m - 1) / (m + 1), |s| < 0.1716
    f = m - 1.0
    s = f / (f + 2.0)
    z = s * s
    tail = z * polynomial(z, [2 / (2 * k + 1) for k in range(form.terms, 0, -1)])
    # 2 s = f - s f keeps small results accurate.
    result = call("fma", e, const(form.ln2_high, x.dtype), f - (s * (f - tail) - e * form.ln2_low))
    special = select(x < 0.0, const(math.nan, x.dtype), const(-math.inf, x.dtype))
    unbounded = call("or", call("ge", x, math.inf), call("ne", x, x))
    return select(unbounded, x, select(x > 0.0, result, special))
