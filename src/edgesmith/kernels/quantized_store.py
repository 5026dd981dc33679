"""How results that are quantised to bytes are stored: rounded, moved and saturated by one primitive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgesmith.c.expr import Expr, call, const
from edgesmith.ir import DType

__all__ = ["VECTORS_AT_ONCE", "Rounding", "largest"]

VECTORS_AT_ONCE = 4
"""Neighbouring vectors that the vector layer rounds and stores together."""
_LIMIT = 2.0**30
"""Beyond every byte, and within i32."""


@dataclass(frozen=True)
class Rounding:
    """A result that is ``value``, rounded to the nearest even, plus ``zero``, saturated to bytes.

    Args:
        value: below 2**31.
    """

    value: Expr
    zero: int
    dtype: DType

    @classmethod
    def of(cls, expr: Expr, leaves: Mapping[str, float]) -> Rounding | None:
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
        if not largest(value, leaves) < 2.0**31:
            value = call("min", const(_LIMIT), value)
        return cls(value, zero, expr.dtype)

    def store(self, address: str, values: Sequence[str]) -> str:
        """C statement that stores one vector, or ``VECTORS_AT_ONCE``."""
        several = f"_{VECTORS_AT_ONCE}" if len(values) > 1 else ""
        return f"es_round_{self.dtype}{several}({address}, {', '.join(values)}, {self.zero});"


def _constant(expr: Expr) -> float | None:
    while expr.op == "cast":
        expr = expr.args[0]
    return float(str(expr.value)) if expr.op == "const" else None


def largest(expr: Expr, leaves: Mapping[str, float]) -> float:
    """A bound on the magnitude of an expression, infinity where none is known.

    Args:
        leaves: of each variable.
    """
    number = _constant(expr)
    if number is not None:
        return abs(number)
    if expr.op == "var":
        return leaves.get(str(expr.value), np.inf)
    if expr.op in ("sigmoid", "tanh", "erf"):
        return 1.0
    parts = [largest(a, leaves) for a in expr.args]
    if expr.op in ("add", "sub"):
        return sum(parts)
    if expr.op == "mul":
        return parts[0] * parts[1] if min(parts) > 0 else 0.0
    if expr.op in ("min", "max"):
        return max(parts)
    return parts[0] if expr.op in ("cast", "retype", "neg", "abs", "rint") else np.inf
