"""exp, log, tanh, erf and the logistic function for f32, written once as expressions over exact primitives.

No libm is involved, so results do not depend on the C library. The stated errors are against the real value,
measured over all exponents by ``tests/c/test_mathfunctions.py``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np

from edgesmith.c.expr import Expr, call, const, emit, primitives_of, select, var
from edgesmith.c.writer import Writer

__all__ = ["FUNCTIONS", "definitions", "functions_of"]

LN2_HIGH = float(np.float32(0.693359375))  # exact product with any |n| <= 2**15
LN2_LOW = math.log(2.0) - LN2_HIGH


# Least-squares fits at Chebyshev nodes, highest power first.
# (tanh(sqrt z) / sqrt z - 1) / z for z in [0, 0.31]
_TANH_SERIES = [
    0.002507615,
    -0.008513548,
    0.02181545,
    -0.053964417,
    0.13333324,
    -0.33333334,
]
# erf(sqrt z) / sqrt z for z in [0, 1]
_ERF_NEAR = [
    -9.673591e-06,
    0.00011268254,
    -0.00084843964,
    0.0052210535,
    -0.026865438,
    0.11283783,
    -0.37612638,
    1.1283792,
]
# exp(a^2) erfc(a) for a in [1, 4]
_ERF_FAR = [
    2.3757548e-05,
    -0.0005610663,
    0.0058555477,
    -0.03566556,
    0.14121385,
    -0.3837743,
    0.7377001,
    -1.0151447,
    0.9779348,
]


def _horner(x: Expr, coefficients: Iterable[float]) -> Expr:
    """The polynomial whose coefficients are given highest power first."""
    first, *rest = coefficients
    result = const(first)
    for c in rest:
        result = call("fma", result, x, const(c))
    return result


def _exp(x: Expr) -> Expr:
    """e**x within 2 ULP; 0 below -104, infinity above 88.73, NaN for NaN."""
    bounded = call("min", 89.0, call("max", -104.0, x))
    n = call("rint", bounded * (1 / math.log(2)))
    r = call("fma", n, const(-LN2_LOW), call("fma", n, const(-LN2_HIGH), bounded))
    p = _horner(r, [1 / math.factorial(k) for k in range(7, -1, -1)])
    half = call("floor", n * 0.5)
    return p * call("exp2i", half) * call("exp2i", n - half)


def _log(x: Expr) -> Expr:
    """ln x within 2 ULP for normal x; -infinity for 0, NaN below 0, infinity for infinity."""
    tiny = x < float(np.finfo(np.float32).tiny)
    scaled = select(tiny, x * 2.0**24, x)
    m, e = call("significand", scaled), call("exponent", scaled)
    high = m > math.sqrt(2)
    m = select(high, m * 0.5, m)
    e = select(high, e + 1.0, e) - select(tiny, const(24.0), const(0.0))
    # ln m = 2 artanh(s), s = (m - 1) / (m + 1), |s| < 0.1716
    f = m - 1.0
    s = f / (f + 2.0)
    z = s * s
    tail = z * _horner(z, [2 / 11, 2 / 9, 2 / 7, 2 / 5, 2 / 3])
    # 2 s = f - s f, exactly rounded in a way that keeps small results accurate
    result = call("fma", e, const(LN2_HIGH), f - (s * (f - tail) - e * LN2_LOW))
    special = select(x.__lt__(0.0), const(math.nan), const(-math.inf))
    positive = x > 0.0
    usual = select(positive, result, special)
    infinite = call("ge", x, math.inf)
    is_nan = call("ne", x, x)
    return select(call("or", infinite, is_nan), x, usual)


def _sigmoid(x: Expr) -> Expr:
    """1 / (1 + e**-x) within 4 ULP."""
    return 1.0 / (1.0 + call("exp", -x))


def _tanh(x: Expr) -> Expr:
    """tanh x within 4 ULP: an odd series near 0, 1 - 2 / (e**2|x| + 1) elsewhere."""
    a = call("min", 10.0, call("abs", x))
    z = a * a
    near = call("fma", a * z, _horner(z, _TANH_SERIES), a)
    far = 1.0 - 2.0 / (call("exp", a + a) + 1.0)
    magnitude = select(a < 0.55, near, far)
    signed = select(x < 0.0, -magnitude, magnitude)
    return select(call("ne", x, x), x, signed)


def _erf(x: Expr) -> Expr:
    """erf x within 4 ULP near 0 and an absolute error of 2e-7 elsewhere."""
    a = call("min", 4.0, call("abs", x))
    z = a * a
    near = a * _horner(z, _ERF_NEAR)
    far = 1.0 - call("exp", -z) * _horner(a, _ERF_FAR)
    magnitude = select(a < 1.0, near, far)
    signed = select(x < 0.0, -magnitude, magnitude)
    return select(call("ne", x, x), x, signed)


FUNCTIONS: dict[str, Callable[[Expr], Expr]] = {
    "exp": _exp,
    "log": _log,
    "sigmoid": _sigmoid,
    "tanh": _tanh,
    "erf": _erf,
}


def functions_of(expr: Expr) -> tuple[str, ...]:
    """Names of the functions that ``expr`` needs, dependencies first."""
    order: list[str] = []

    def need(e: Expr) -> None:
        for op, _ in sorted(primitives_of(e), key=lambda use: use[0]):
            if op in FUNCTIONS and op not in order:
                need(FUNCTIONS[op](var("x")))
                order.append(op)

    need(expr)
    return tuple(order)


def definitions(names: Iterable[str], *, vector: bool) -> str:
    """C definitions of ``es_<name>_f32`` (and ``es_<name>_v`` when ``vector``) for functions in dependency order."""
    writer = Writer()
    for name in names:
        for is_vector in (False, True) if vector else (False,):
            kind, suffix = ("es_v", "v") if is_vector else ("float", "f32")
            with writer.block(f"ES_UNUSED static inline {kind} es_{name}_{suffix}(const {kind} x)"):
                result = emit(FUNCTIONS[name](var("x")), {"x": "x"}, writer, vector=is_vector)
                writer.line(f"return {result};")
            writer.line()
    return writer.text()
