"""Functions of one f32 argument, written as expressions over exact primitives, for scalar and vector C alike.

The stated errors are against the real value, measured by ``tests/c/test_mathfunctions.py`` with and without fused
multiply-add; the polynomials are minimax fits (linear programming at Chebyshev nodes), highest power first.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from edgesmith.c.exponential import exponential, reduced
from edgesmith.c.expr import Expr, call, polynomial, select
from edgesmith.c.logarithm import logarithm

__all__ = ["F32_FUNCTIONS"]

# (sqrt z coth(sqrt z / 2) - 2) / z for z in [0, (ln(2) / 2)**2]
_COTH = [-0.0027660101, 0.16666618]
# (tanh(sqrt z) / sqrt z - 1) / z for z in [0, 0.41]
_TANH_SERIES = [0.0021139178, -0.008150983, 0.021692948, -0.053946115, 0.1333321, -0.3333333]
# (artanh(sqrt z) / sqrt z - 1) / z for z in [0, 1 / 9]
_ARTANH = [0.14017563, 0.1399867, 0.2001089, 0.33333206]
# (erf(sqrt z) / sqrt z - 2 / sqrt pi) / z for z in [0, 0.83]
_ERF_NEAR = [8.46774502e-05, -0.000816592873, 0.00520309759, -0.0268602421, 0.11283711, -0.376126348]
# ln(erfc a) for a in [0.9, 4], weighted by erfc a: the error of erf is below 2e-9
_ERF_FAR = [0.000197180281, -0.00305559383, 0.0222770342, -0.104037254, -0.637059869, -1.1277495, -0.000177510008]


def _expm1(x: Expr) -> Expr:
    """e**x - 1 within 2 ULP; -1 below -18, infinity above 88.73."""
    parts = reduced(call("min", 89.0, call("max", -18.0, x)))
    small = parts.excess
    half = call("exp2_biased", parts.biased - 1.0)
    doubled = call("fma", half, small, half - 0.5)
    return select(call("eq", parts.n, 0.0), select(call("eq", parts.r, 0.0), x, small), doubled + doubled)


def _log1p(x: Expr) -> Expr:
    """ln(1 + x) within 1.5 ULP; -infinity for -1, NaN below."""
    u = x + 1.0
    main = call("log", u)
    # What rounding 1 + x lost, to first order; NaN where u is 0 or infinite and nothing was.
    lost = (x - (u - 1.0)) / u
    return select(call("eq", u, 1.0), x, select(call("eq", lost, lost), main + lost, main))


def _logistic(x: Expr, sign: int) -> Expr:
    """1 / (1 + e**(sign x)) for |x| <= 87.6, 1 and 0 up to 88.9.

    e**r is (c + r) / (c - r) with c = r coth(r / 2), so that one division serves both quotients.
    """
    parts = reduced(x, sign)
    r, z = parts.r, parts.r * parts.r
    c = call("fma", polynomial(z, _COTH), z, 2.0)
    above, below = (c + r, c - r) if sign > 0 else (c - r, c + r)
    return below / call("fma", parts.scale, above, below)


def _sigmoid(x: Expr) -> Expr:
    """1 / (1 + e**-x) within 2.5 ULP; below -87.33, where that is denormal, maybe 0."""
    return _logistic(call("min", 88.3, call("max", -88.9, x)), -1)


def _tanh(x: Expr) -> Expr:
    """tanh x within 1.5 ULP: an odd series near 0, 1 - 2 / (e**2|x| + 1) elsewhere."""
    a = call("min", 10.0, call("abs", x))
    z = a * a
    near = call("fma", a * z, polynomial(z, _TANH_SERIES), a)
    far = call("fma", _logistic(a + a, 1), -2.0, 1.0)
    return call("copysign", select(a < 0.63, near, far), x)


def _softplus(x: Expr) -> Expr:
    """ln(1 + e**x) within 2.5 ULP; below -87.33, where that is denormal, maybe 0."""
    # x or 0, and ln(1 + y) = 2 artanh(s) for y = e**-|x|, s = y / (2 + y) up to 1 / 3
    parts = reduced(call("max", -88.2, -call("abs", x)))
    y = parts.power * parts.scale
    s = y / (y + 2.0)
    z, twice = s * s, s + s
    return call("max", 0.0, x) + call("fma", twice * z, polynomial(z, _ARTANH), twice)


def _erf(x: Expr) -> Expr:
    """erf x within 2.5 ULP and an absolute error of 2e-7: an odd polynomial near 0, 1 - e**P(|x|) elsewhere."""
    a = call("min", 4.0, call("abs", x))
    z = a * a
    near = a * call("fma", z, polynomial(z, _ERF_NEAR), 2 / math.sqrt(math.pi))
    parts = reduced(polynomial(a, _ERF_FAR))
    far = 1.0 - parts.power * parts.scale
    return call("copysign", select(a < 0.9, near, far), x)


F32_FUNCTIONS: dict[str, Callable[[Expr], Expr]] = {
    "exp": exponential,
    "expm1": _expm1,
    "log": logarithm,
    "log1p": _log1p,
    "sigmoid": _sigmoid,
    "softplus": _softplus,
    "tanh": _tanh,
    "erf": _erf,
}
