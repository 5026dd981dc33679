"""Expressions over single elements: one definition serves numpy, scalar C and vector C."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgesmith.c.meaning import convert
from edgesmith.c.primitives import NARROW, PRIMITIVES
from edgesmith.c.writer import Writer
from edgesmith.ir import DType

__all__ = [
    "Expr",
    "call",
    "cast",
    "const",
    "emit",
    "emit_together",
    "evaluate",
    "literal",
    "nodes",
    "polynomial",
    "primitives_of",
    "replaced",
    "select",
    "var",
    "vectorizable",
]

LONGEST_EXPRESSION = 90
LONGEST_ALTERNATING = 30
"""Characters of the C text that becomes part of a longer expression, without and with copies that alternate."""


@dataclass(frozen=True, eq=False, slots=True)
class Expr:
    """A node of an expression; shared sub-expressions are shared objects and are computed once.

    ``op`` is ``"var"`` (a leaf named ``value``), ``"const"`` (the number ``value``) or the name of a primitive.
    """

    op: str
    args: tuple[Expr, ...]
    dtype: DType
    value: object = None

    def __add__(self, other: Expr | float) -> Expr:
        return call("add", self, other)

    def __radd__(self, other: float) -> Expr:
        return call("add", const(other, self.dtype), self)

    def __sub__(self, other: Expr | float) -> Expr:
        return call("sub", self, other)

    def __rsub__(self, other: float) -> Expr:
        return call("sub", const(other, self.dtype), self)

    def __mul__(self, other: Expr | float) -> Expr:
        return call("mul", self, other)

    def __rmul__(self, other: float) -> Expr:
        return call("mul", const(other, self.dtype), self)

    def __truediv__(self, other: Expr | float) -> Expr:
        return call("div", self, other)

    def __rtruediv__(self, other: float) -> Expr:
        return call("div", const(other, self.dtype), self)

    def __neg__(self) -> Expr:
        return call("neg", self)

    def __lt__(self, other: Expr | float) -> Expr:
        return call("lt", self, other)

    def __le__(self, other: Expr | float) -> Expr:
        return call("le", self, other)

    def __gt__(self, other: Expr | float) -> Expr:
        return call("gt", self, other)

    def __ge__(self, other: Expr | float) -> Expr:
        return call("ge", self, other)


def var(name: str, dtype: DType = DType.F32) -> Expr:
    return Expr("var", (), dtype, name)


def const(value: float, dtype: DType = DType.F32) -> Expr:
    return Expr("const", (), dtype, value)


def call(op: str, *args: Expr | float, dtype: DType | None = None) -> Expr:
    """Apply a primitive; plain numbers become constants of the type of the last expression among ``args``.

    Args:
        dtype: type of the result; given for ``cast``, otherwise that of the last argument (comparisons: bool).
    """
    kind = [a.dtype for a in args if isinstance(a, Expr)][-1]
    exprs = tuple(a if isinstance(a, Expr) else const(a, kind) for a in args)
    return Expr(op, exprs, dtype or (DType.BOOL if PRIMITIVES[op].gives_bool else kind))


def cast(x: Expr, dtype: DType) -> Expr:
    """``x`` converted to ``dtype``; floats to integers truncate and saturate, NaN gives 0."""
    if x.dtype is dtype:
        return x
    if x.dtype is DType.F16:
        return cast(call("widen", x, dtype=DType.F32), dtype)
    if x.dtype is DType.BF16:
        return cast(call("widen_bf16", x, dtype=DType.F32), dtype)
    if dtype is DType.F16:
        return call("narrow", x if x.dtype is DType.F32 else cast(x, DType.F64), dtype=dtype)
    if dtype is DType.BF16:
        return call("narrow_bf16", cast(x, DType.F32), dtype=dtype)
    return call("cast", x, dtype=dtype)


def select(condition: Expr, then: Expr | float, otherwise: Expr | float) -> Expr:
    return call("select", condition, then, otherwise)


def polynomial(x: Expr, coefficients: Sequence[float]) -> Expr:
    """The polynomial in ``x`` whose coefficients are given highest power first, by Horner's rule."""
    first, *rest = coefficients
    result = const(first, x.dtype)
    for c in rest:
        result = call("fma", result, x, const(c, x.dtype))
    return result


def nodes(expr: Expr) -> list[Expr]:
    """All nodes of an expression, each once, those that others read first."""
    found: dict[int, Expr] = {}

    def visit(e: Expr) -> None:
        if id(e) not in found:
            for arg in e.args:
                visit(arg)
            found[id(e)] = e

    visit(expr)
    return list(found.values())


def replaced(expr: Expr, chosen: Callable[[Expr], bool], by: Expr) -> Expr:
    """An expression with another one in the place of chosen nodes; itself where there are none."""
    made: dict[int, Expr] = {}
    for e in nodes(expr):
        args = tuple(made[id(a)] for a in e.args)
        same = all(a is b for a, b in zip(args, e.args, strict=True))
        made[id(e)] = by if chosen(e) else e if same else Expr(e.op, args, e.dtype, e.value)
    return made[id(expr)]


def literal(value: object, dtype: DType) -> str:
    """A C99 literal that reads back as exactly ``value`` in ``dtype``."""
    if dtype is DType.BOOL:
        return "1" if value else "0"
    if dtype.is_float:
        number = float(dtype.numpy.type(value))
        suffix = "" if dtype is DType.F64 else "f"
        if math.isnan(number):
            return "NAN" if dtype is not DType.F64 else "(double)NAN"
        if math.isinf(number):
            text = "INFINITY" if dtype is not DType.F64 else "(double)INFINITY"
            return text if number > 0 else f"(-{text})"
        digits = np.format_float_positional if 1e-4 <= abs(number) < 1e7 or number == 0 else np.format_float_scientific
        text = digits(dtype.numpy.type(value), unique=True, trim="0") + suffix  # type: ignore[arg-type]
        return f"({text})" if text.startswith("-") else text
    number = int(value)  # type: ignore[call-overload]
    if dtype is DType.I64:
        return "INT64_MIN" if number == -(2**63) else f"INT64_C({number})" if number >= 0 else f"(INT64_C({number}))"
    if dtype is DType.U64:
        return f"UINT64_C({number})"
    if dtype is DType.U32:
        return f"{number}u"
    if dtype is DType.I32 and number == -(2**31):
        return "INT32_MIN"
    return str(number) if number >= 0 else f"({number})"


def _uses(expr: Expr, counts: dict[int, int]) -> None:
    counts[id(expr)] = counts.get(id(expr), 0) + 1
    if counts[id(expr)] == 1:
        for arg in expr.args:
            _uses(arg, counts)


def primitives_of(expr: Expr) -> set[tuple[str, DType]]:
    """The primitives in an expression, each with the type of its first argument."""
    found: set[tuple[str, DType]] = set()
    seen: set[int] = set()

    def visit(e: Expr) -> None:
        if id(e) in seen:
            return
        seen.add(id(e))
        if e.args:
            found.add((e.op, e.args[0].dtype))
        for arg in e.args:
            visit(arg)

    visit(expr)
    return found


def vectorizable(expr: Expr) -> str | None:
    """None when vector C can compute it; otherwise the reason."""
    seen: set[int] = set()

    def visit(e: Expr) -> str | None:
        if id(e) in seen:
            return None
        seen.add(id(e))
        if not e.args:
            if e.dtype is DType.BOOL:
                return "the vector layer has no truth values in memory"
            if e.dtype not in (DType.F32, DType.I32, *NARROW):
                return f"the vector layer has no {e.dtype}"
            return None
        if PRIMITIVES[e.op].vector_c([""] * len(e.args), e.args[0].dtype, e.dtype) is None:
            return f"{e.op} of {e.args[0].dtype} to {e.dtype} has no vector form"
        return next((r for r in map(visit, e.args) if r), None)

    return visit(expr)


def emit(expr: Expr, leaves: Mapping[str, str], writer: Writer, *, vector: bool = False) -> str:
    """Write the statements that compute ``expr`` and return the C expression of its value.

    Args:
        leaves: C text of each variable.
        vector: emit vector C (f32 lanes, which hold narrow integers too, and masks) instead of scalar C; variables of
            type i32 are vectors of integers.
    """
    return emit_together(expr, [leaves], writer, vector=vector)[0]


def emit_together(
    expr: Expr, copies: Sequence[Mapping[str, str]], writer: Writer, *, vector: bool = False
) -> tuple[str, ...]:
    """Write the statements that compute ``expr`` for several sets of variables, and return the C expressions.

    The statements of the copies alternate: next to each operation that waits, a processor finds independent work.

    Args:
        copies: C text of each variable, for each copy.
        vector: as for ``emit``.
    """
    counts: dict[int, int] = {}
    _uses(expr, counts)
    done: dict[int, tuple[str, ...]] = {}
    longest = LONGEST_EXPRESSION if len(copies) == 1 else LONGEST_ALTERNATING

    def text(e: Expr, args: Sequence[str]) -> str:
        primitive = PRIMITIVES[e.op]
        if not vector:
            return primitive.scalar_c(args, e.args[0].dtype, e.dtype)
        made = primitive.vector_c(args, e.args[0].dtype, e.dtype)
        assert made is not None
        return made

    def visit(e: Expr) -> tuple[str, ...]:
        if id(e) in done:
            return done[id(e)]
        if e.op == "var":
            texts = tuple(leaves[str(e.value)] for leaves in copies)
        elif e.op == "const":
            number = f"es_set1({literal(e.value, DType.F32)})" if vector else literal(e.value, e.dtype)
            texts = (number,) * len(copies)
        else:
            args = [visit(a) for a in e.args]
            texts = tuple(text(e, of_copy) for of_copy in zip(*args, strict=True))
            if counts[id(e)] > 1 or len(texts[0]) > longest:
                names = []
                mask = e.dtype is DType.BOOL
                kind = ("es_m" if mask else "es_v") if vector else e.dtype.c
                for one in texts:
                    names.append(writer.fresh())
                    writer.line(f"const {kind} {names[-1]} = {one};")
                texts = tuple(names)
        done[id(e)] = texts
        return texts

    return visit(expr)


def evaluate(expr: Expr, leaves: Mapping[str, np.ndarray]) -> np.ndarray:
    """The value of ``expr`` by numpy."""
    done: dict[int, np.ndarray] = {}

    def visit(e: Expr) -> np.ndarray:
        if id(e) not in done:
            if e.op == "var":
                result = leaves[str(e.value)]
            elif e.op == "const":
                result = np.asarray(e.value, e.dtype.numpy)
            else:
                with np.errstate(all="ignore"):
                    result = np.asarray(PRIMITIVES[e.op].numpy(*[visit(a) for a in e.args]))
                    result = convert(result, e.dtype.numpy)
            done[id(e)] = result
        return done[id(e)]

    return visit(expr)
