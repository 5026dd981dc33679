"""How errors travel through the expression of an elementwise operator: running error analysis.

Every step of the expression adds its own rounding to what its arguments bring along (Higham, "Accuracy and Stability of
Numerical Algorithms", 2nd ed., section 3.3). Values are computed in f64, so that small differences mean something.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgesmith.c.expr import Expr
from edgesmith.c.meaning import convert
from edgesmith.c.primitives import PRIMITIVES
from edgesmith.ir import DType

__all__ = ["Bounded", "expression_bound"]

FUNCTION_ROUNDINGS = 4.0
"""Unit roundoffs of error allowed to a mathematical function: 2 ULP, the largest error that ``c`` states."""

_EXACT = frozenset(
    (
        *("neg", "abs", "max", "min", "floor", "ceil", "rint", "copysign", "select", "fmod", "shl", "shr"),
        *("lt", "le", "gt", "ge", "eq", "ne", "and", "or", "xor", "not", "bitand", "bitor", "bitxor", "bitnot"),
    )
)
_NARROWED = {"narrow": 2.0**-14, "narrow_bf16": 2.0**-126}
"""Conversions to 16 bits, with the smallest normal number there: programs that convert equal numbers get equal ones."""
_BOUNDED = frozenset(("sigmoid", "tanh", "erf"))
_ROUNDED_ONCE = frozenset(("add", "sub", "mul", "div", "sqrt", "fma", "cast"))


@dataclass(frozen=True)
class Bounded:
    """A value and the largest error that it may carry; for truth values, 1 where an error may have turned them."""

    value: np.ndarray
    error: np.ndarray | float = 0.0

    @property
    def exact(self) -> bool:
        return isinstance(self.error, float) and self.error == 0.0


def expression_bound(expr: Expr, leaves: Mapping[str, Bounded], programs: int) -> np.ndarray:
    """Largest difference between results of several programs that evaluate ``expr`` in its own precision.

    Args:
        leaves: the variables; their errors already are differences between the programs.
        programs: how many programs round, each in its own way.

    Returns:
        An array that broadcasts to the result's shape, f64; also for an integer or truth value.
    """
    done: dict[int, Bounded] = {}

    def visit(e: Expr) -> Bounded:
        if id(e) not in done:
            if e.op == "var":
                done[id(e)] = leaves[str(e.value)]
            elif e.op == "const":
                done[id(e)] = Bounded(_wide(np.asarray(e.value, e.dtype.numpy)))
            else:
                done[id(e)] = _apply(e, [visit(a) for a in e.args], programs)
        return done[id(e)]

    with np.errstate(all="ignore"):
        result = visit(expr)
        return np.nan_to_num(np.asarray(result.error, np.float64), nan=0.0, posinf=np.inf)


def _wide(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float64) if np.issubdtype(array.dtype, np.floating) else array


def _apply(e: Expr, args: list[Bounded], programs: int) -> Bounded:
    value = _meaning(e, [a.value for a in args])
    carried = 0.0 if all(a.exact for a in args) else _carried(e, args, value)
    own = _rounding(e, args, value)
    if isinstance(own, float) and own == 0.0:
        return Bounded(value, carried)
    return Bounded(value, carried + programs * own)


def _meaning(e: Expr, args: list[np.ndarray]) -> np.ndarray:
    result = np.asarray(PRIMITIVES[e.op].numpy(*args))
    return result.astype(np.float64) if e.dtype.is_float else convert(result, e.dtype.numpy)


def _rounding(e: Expr, args: list[Bounded], value: np.ndarray) -> Any:
    """What one program's rounding of this one primitive adds."""
    if not e.dtype.is_float or e.op in _EXACT or e.op in _NARROWED or e.op.startswith("widen"):
        return 0.0
    if e.op == "cast" and e.dtype is DType.F64 and e.args[0].dtype.is_float:
        return 0.0
    u = e.dtype.unit_roundoff
    if e.op in _ROUNDED_ONCE:
        size = np.abs(value)
        # Without a fused instruction the product is rounded too.
        return u * (size + np.abs(args[0].value * args[1].value)) if e.op == "fma" else u * size
    # ONNX Runtime computes bounded functions as rational approximants around their middle or clamps them (MLAS:
    # logistic.cpp, tanh.cpp, erf.cpp), and differences such as exp(x) - 1 plainly: small results are accurate to the
    # rounding of numbers near 1, not to their own last place.
    near_one = FUNCTION_ROUNDINGS if e.op in _BOUNDED else 1.0
    return u * (FUNCTION_ROUNDINGS * np.abs(value) + near_one)


def _carried(e: Expr, args: list[Bounded], value: np.ndarray) -> Any:
    """What the errors of the arguments amount to in the result."""
    a = args[0]
    if e.op in _NARROWED:
        # Two numbers next to each other may go to neighbours.
        unit = np.maximum(np.abs(a.value) + a.error, _NARROWED[e.op])
        return np.where(a.error > 0, a.error + 2 * e.dtype.unit_roundoff * unit, 0.0)
    if (e.op in ("neg", "abs", "not", "cast") or e.op.startswith("widen")) and (
        e.dtype.is_float or e.dtype is DType.BOOL
    ):
        return a.error
    if e.op in ("add", "sub"):
        return a.error + args[1].error
    if e.op in ("mul", "fma"):
        b = args[1]
        product = np.abs(a.value) * b.error + np.abs(b.value) * a.error + a.error * b.error
        return product + (args[2].error if e.op == "fma" else 0.0)
    if e.op in ("max", "min"):
        return np.maximum(a.error, args[1].error)
    if e.op in ("lt", "le", "gt", "ge", "eq", "ne"):
        distance = np.abs(_wide(a.value) - _wide(args[1].value))
        return (distance <= a.error + args[1].error).astype(np.float64)
    if e.op in ("and", "or", "xor"):
        return np.maximum(a.error, args[1].error)
    if e.op == "select":
        _, then, otherwise = args
        chosen = np.where(a.value, then.error, otherwise.error)
        if a.exact:
            return chosen
        jump = np.abs(_wide(then.value) - _wide(otherwise.value)) + then.error + otherwise.error
        return np.where(a.error > 0, jump, chosen)
    return _differences(e, args, value)


def _differences(e: Expr, args: list[Bounded], value: np.ndarray) -> np.ndarray | float:
    """The general case: the change of the result when each argument moves to either end of its error."""
    total: np.ndarray | float = 0.0
    for i, a in enumerate(args):
        if a.exact:
            continue
        moved = []
        for sign in (-1.0, 1.0):
            others = [b.value for b in args]
            others[i] = convert(a.value + sign * a.error, a.value.dtype)
            moved.append(np.abs(_wide(_meaning(e, others)) - _wide(value)))
        total = total + np.maximum(*moved)
    return total
