"""Functions of f32 arguments computed in f64, where the usual formulas need no care for the last bit of f32.

They are rare in networks, so vector code calls them lane by lane.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from edgesmith.c.exponential import exponential
from edgesmith.c.expr import Expr, call, cast, const, polynomial, select
from edgesmith.c.logarithm import logarithm
from edgesmith.ir import DType

__all__ = ["F64_FUNCTIONS", "THROUGH_F64"]

_SMALL = 0.01
"""Below it a short series is exact to f64 and the formulas in e**x and ln x would cancel."""


def _const(value: float) -> Expr:
    return const(value, DType.F64)


def _pow(x: Expr, y: Expr) -> Expr:
    """x**y within a relative error of 2**-40 for results in the range of f32; special cases as C99 Annex F."""
    magnitude = call("exp", y * call("log", call("abs", x)))
    whole = call("eq", call("floor", y), y)
    halves = y * 0.5
    odd = call("and", whole, call("ne", call("floor", halves), halves))
    negative = call("or", x < 0.0, 1.0 / x < 0.0)
    signed = select(call("and", odd, negative), -magnitude, magnitude)
    undefined = call("and", call("and", x < 0.0, x > -math.inf), call("not", whole))
    powered = select(undefined, math.nan, signed)
    is_nan = call("or", call("ne", x, x), call("ne", y, y))
    balanced = call("and", call("eq", x, -1.0), call("eq", call("abs", y), math.inf))
    one = call("or", call("or", call("eq", x, 1.0), call("eq", y, 0.0)), balanced)
    return select(one, _const(1.0), select(is_nan, x + y, powered))


def _atan(x: Expr) -> Expr:
    """arctan x within a relative error of 2**-36: reciprocal above 1, rotation by pi / 4 above tan(pi / 8)."""
    a = call("abs", x)
    steep = a > 1.0
    t = select(steep, 1.0 / a, a)
    rotated = t > math.tan(math.pi / 8)
    u = select(rotated, (t - 1.0) / (t + 1.0), t)
    z = u * u
    series = u + u * z * polynomial(z, [(-1) ** k / (2 * k + 1) for k in range(14, 0, -1)])
    angle = select(rotated, series + math.pi / 4, series)
    return call("copysign", select(steep, math.pi / 2 - angle, angle), x)


F64_FUNCTIONS: dict[str, Callable[..., Expr]] = {"exp": exponential, "log": logarithm, "pow": _pow, "atan": _atan}


def _asin(x: Expr) -> Expr:
    return call("atan", x / call("sqrt", (1.0 - x) * (1.0 + x)))


def _acos(x: Expr) -> Expr:
    return 2.0 * call("atan", call("sqrt", (1.0 - x) / (1.0 + x)))


def _sinh(x: Expr) -> Expr:
    a = call("abs", x)
    e = call("exp", a)
    z = a * a
    series = a + a * z * polynomial(z, [1 / 120, 1 / 6])
    return call("copysign", select(a < _SMALL, series, (e - 1.0 / e) * 0.5), x)


def _cosh(x: Expr) -> Expr:
    e = call("exp", x)
    return (e + 1.0 / e) * 0.5


def _asinh(x: Expr) -> Expr:
    a = call("abs", x)
    z = a * a
    series = a + a * z * polynomial(z, [3 / 40, -1 / 6])
    return call("copysign", select(a < _SMALL, series, call("log", a + call("sqrt", z + 1.0))), x)


def _acosh(x: Expr) -> Expr:
    return select(x < 1.0, _const(math.nan), call("log", x + call("sqrt", (x - 1.0) * (x + 1.0))))


def _atanh(x: Expr) -> Expr:
    a = call("abs", x)
    z = a * a
    series = a + a * z * polynomial(z, [1 / 7, 1 / 5, 1 / 3])
    return call("copysign", select(a < _SMALL, series, 0.5 * call("log", (1.0 + a) / (1.0 - a))), x)


def _quadrant(x: Expr) -> tuple[Expr, Expr, Expr]:
    """For an angle: its nearest multiple q of pi / 2, and sine and cosine of what remains; q from -2 to 2."""
    turns = call("quarter_turns", x, dtype=DType.F64)
    q = call("rint", turns)
    # Not turns - 0 where q is 0: that would lose the sign of zero.
    r = select(call("eq", q, 0.0), turns, turns - q) * (math.pi / 2)
    z = r * r
    sine = r * polynomial(z, [(-1) ** k / math.factorial(2 * k + 1) for k in range(7, -1, -1)])
    cosine = polynomial(z, [(-1) ** k / math.factorial(2 * k) for k in range(7, -1, -1)])
    return q, sine, cosine


def _sin(x: Expr) -> Expr:
    q, sine, cosine = _quadrant(x)
    aside = call("eq", call("abs", q), 1.0)
    value = select(aside, cosine, sine)
    return select(call("or", call("eq", q, -1.0), call("eq", call("abs", q), 2.0)), -value, value)


def _cos(x: Expr) -> Expr:
    q, sine, cosine = _quadrant(x)
    aside = call("eq", call("abs", q), 1.0)
    value = select(aside, sine, cosine)
    return select(call("or", call("eq", q, 1.0), call("eq", call("abs", q), 2.0)), -value, value)


def _tan(x: Expr) -> Expr:
    q, sine, cosine = _quadrant(x)
    return select(call("eq", call("abs", q), 1.0), -cosine / sine, sine / cosine)


def _widened(function: Callable[..., Expr]) -> Callable[..., Expr]:
    """The f32 function that ``function`` computes in f64; the error is that of the last rounding."""

    def narrow(*args: Expr) -> Expr:
        return cast(function(*(cast(a, DType.F64) for a in args)), DType.F32)

    return narrow


THROUGH_F64: dict[str, Callable[..., Expr]] = {
    "pow": _widened(lambda x, y: call("pow", x, y)),
    "atan": _widened(lambda x: call("atan", x)),
    "asin": _widened(_asin),
    "acos": _widened(_acos),
    "sinh": _widened(_sinh),
    "cosh": _widened(_cosh),
    "asinh": _widened(_asinh),
    "acosh": _widened(_acosh),
    "atanh": _widened(_atanh),
    "sin": lambda x: cast(_sin(x), DType.F32),
    "cos": lambda x: cast(_cos(x), DType.F32),
    "tan": lambda x: cast(_tan(x), DType.F32),
}
