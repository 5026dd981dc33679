"""How results that are quantised to bytes are stored: rounded, moved and saturated by one primitive."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgesmith.c.expr import Expr, call, const
from edgesmith.ir import DType
from edgesmith.target import Target

__all__ = ["VECTORS_AT_ONCE", "Rounding", "bounds", "largest_of"]

VECTORS_AT_ONCE = 4
"""Neighbouring vectors that the vector layer rounds and stores together."""
_LIMIT = 2.0**30
"""Beyond every byte, and within i32."""
_SHORT = 32000.0
"""Within 16 bits, roundings included."""
_HUGE = 2.0**120
"""Beyond it a result may be infinite, in spite of roundings below."""


@dataclass(frozen=True)
class Rounding:
    """A result that is ``value``, rounded to the nearest even, plus ``zero``, saturated to bytes.

    Args:
        value: below 2**31.
        primitive: of the vector layer that rounds and stores.
        together: how many neighbouring vectors it takes, beside one, the most first.
    """

    value: Expr
    zero: int
    dtype: DType
    primitive: str
    together: tuple[int, ...] = (VECTORS_AT_ONCE,)

    @classmethod
    def of(cls, expr: Expr, leaves: Mapping[str, float], target: Target) -> Rounding | None:
        """What an expression that ends as QuantizeLinear does comes from; None for any other.

        Args:
            leaves: the largest magnitude of each variable.
        """
        if expr.op != "retype" or expr.dtype not in (DType.U8, DType.I8):
            return None
        least, most = expr.dtype.limits
        steps = expr.args[0]
        for op, limit in (("min", most), ("max", least)):
            if steps.op != op or _constant(steps.args[1]) != limit:
                return None
            steps = steps.args[0]
        zero = 0
        if steps.op == "add" and (point := _constant(steps.args[1])) is not None:
            steps, zero = steps.args[0], int(point)
        if steps.op != "rint":
            return None
        value = steps.args[0]
        limits = bounds(value, leaves)
        if limits is None or not max(map(abs, limits)) < 2.0**31:
            value = call("min", const(_LIMIT), value)
        largest = float(max(map(abs, limits))) if limits else np.inf
        short = _SHORT if target.core.converts_slowly else 0.0
        for within, primitive in ((short, "round_short"), (_HUGE, "round_number")):
            if largest < within and target.has(f"{primitive}_{expr.dtype}"):
                break
        else:
            primitive = "round"
        together = tuple(n for n in (VECTORS_AT_ONCE, 2) if n > 2 or target.has(f"{primitive}_{expr.dtype}_2"))
        return cls(value, zero, expr.dtype, primitive, together)

    def store(self, address: str, values: Sequence[str]) -> str:
        """C statement that stores one vector, or as many as are taken ``together``."""
        several = f"_{len(values)}" if len(values) > 1 else ""
        return f"es_{self.primitive}_{self.dtype}{several}({address}, {', '.join(values)}, {self.zero});"


def _constant(expr: Expr) -> float | None:
    while expr.op == "cast":
        expr = expr.args[0]
    return float(str(expr.value)) if expr.op == "const" else None


def bounds(expr: Expr, leaves: Mapping[str, float]) -> tuple[float, float] | None:
    """The range of an expression; None where it is not known, or where it may be NaN or infinite.

    Args:
        leaves: the largest magnitude of each variable.
    """
    number = _constant(expr)
    if number is not None:
        return (number, number) if abs(number) < _HUGE else None
    if expr.op == "var":
        largest = leaves.get(str(expr.value), np.inf)
        return (-largest, largest) if largest < _HUGE else None
    parts = [bounds(a, leaves) for a in expr.args]
    known = [p for p in parts if p is not None]
    if len(known) < len(parts) or expr.op not in _RANGES:
        return None
    low, high = _RANGES[expr.op](known)
    return (low, high) if max(-low, high) < _HUGE else None


def _product(parts: Sequence[tuple[float, float]]) -> tuple[float, float]:
    corners = [x * y for x in parts[0] for y in parts[1]]
    return min(corners), max(corners)


def _sum(parts: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return sum(p[0] for p in parts), sum(p[1] for p in parts)


def _same(parts: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return parts[0]


_RANGES: Mapping[str, Callable[[Sequence[tuple[float, float]]], tuple[float, float]]] = {
    "add": _sum,
    "sub": lambda p: (p[0][0] - p[1][1], p[0][1] - p[1][0]),
    "mul": _product,
    "fma": lambda p: _sum([_product(p), p[2]]),
    "min": lambda p: (min(p[0][0], p[1][0]), min(p[0][1], p[1][1])),
    "max": lambda p: (max(p[0][0], p[1][0]), max(p[0][1], p[1][1])),
    "neg": lambda p: (-p[0][1], -p[0][0]),
    "abs": lambda p: (0.0, max(map(abs, p[0]))),
    "sigmoid": lambda p: (0.0, 1.0),
    "tanh": lambda p: (-1.0, 1.0),
    "erf": lambda p: (-1.0, 1.0),
    "rint": lambda p: (np.floor(p[0][0]), np.ceil(p[0][1])),
    "cast": _same,
    "retype": _same,
}
"""The range of each operation's result by those of its arguments, roundings aside."""


def largest_of(dtype: DType, values: np.ndarray | None = None) -> float:
    """The largest magnitude of some values, or of a type's."""
    if values is not None:
        return float(np.abs(values.astype(np.float64)).max(initial=0.0))
    return np.inf if dtype.is_float else float(max(map(abs, dtype.limits)))
