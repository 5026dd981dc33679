"""Cycle counts that cost models share: arithmetic of expressions, and memory beyond the second-level cache."""

from __future__ import annotations

from functools import cache

from edgesmith.c.expr import Expr
from edgesmith.c.mathfunctions import function_of
from edgesmith.ir import DType
from edgesmith.target import Target

__all__ = ["cycles_of", "far_cycles"]

FAR_BYTES_PER_CYCLE = 28.0
_SLOW = {"div": 6.0, "sqrt": 4.0, "fmod": 40.0}
_USUAL = 0.5


def cycles_of(expr: Expr) -> float:
    """Cycles of one vector of the expression when many are computed one after another."""
    seen: dict[int, Expr] = {}

    def visit(e: Expr) -> None:
        if id(e) not in seen:
            seen[id(e)] = e
            for arg in e.args:
                visit(arg)

    visit(expr)
    return sum(_cycles(e.op, e.args[0].dtype) for e in seen.values() if e.args)


@cache
def _cycles(primitive: str, dtype: DType) -> float:
    function = function_of(primitive, dtype)
    if function is not None:
        return cycles_of(function.expression)
    return _SLOW.get(primitive, _USUAL)


def far_cycles(nbytes: int, target: Target) -> float:
    """Cycles that moving ``nbytes`` takes when they do not stay in the second-level cache, else 0."""
    return nbytes / FAR_BYTES_PER_CYCLE if nbytes > target.l2_bytes else 0.0
