"""The primitives of expressions: numpy meaning, scalar C and, for f32, vector C."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edgesmith.c import meaning
from edgesmith.ir import DType

__all__ = ["NARROW", "PRIMITIVES", "Primitive"]

TypedText = Callable[[Sequence[str], DType, DType], str]
"""C text from the arguments' texts, the type of the first argument and the type of the result."""

VectorText = Callable[[Sequence[str], DType, DType], str | None]
"""The same in vector C; None where there is none for these types."""

NARROW = frozenset((DType.U8, DType.I8, DType.U16, DType.I16, DType.BF16, DType.F16))
"""Types that vector C holds as f32 lanes: every number of these types is one of f32."""


@dataclass(frozen=True)
class Primitive:
    """One operation on elements.

    Args:
        numpy: its meaning.
        scalar: C text: a template over the arguments ``{0}``, ``{1}``, ... in which ``{f}`` is the suffix of a libm
            function of the argument's type (``f`` or nothing) and ``{t}`` the name of that type (``f32``); or a
            function where templates do not suffice.
        vector: template over f32 vectors ``es_v`` and masks ``es_m``, or a function; None when there is none.
        gives_bool: the result is a truth value.
        wraps: a signed integer result may overflow; computed in the unsigned type, where C defines it.
        integer: used instead of ``scalar`` for integers.
    """

    numpy: Callable[..., np.ndarray]
    scalar: str | TypedText
    vector: str | VectorText | None = None
    gives_bool: bool = False
    wraps: bool = False
    integer: str | TypedText | None = None

    def scalar_c(self, args: Sequence[str], argument: DType, result: DType) -> str:
        """Scalar C text that applies the primitive to ``args``, the first of which has type ``argument``."""
        form = self.scalar if argument.is_float or self.integer is None else self.integer
        if self.wraps and not argument.is_float:
            wide = "uint64_t" if argument.itemsize == 8 else "uint32_t"
            args = [f"({wide}){a}" for a in args]
        if callable(form):
            text = form(args, argument, result)
        else:
            text = form.format(*args, f="" if argument is DType.F64 else "f", t=argument)
        if self.wraps and not argument.is_float:
            return f"({result.c}){text}"
        narrow = result.itemsize < 4 and not result.is_float and not self.gives_bool
        return f"({result.c}){text}" if narrow else text

    def vector_c(self, args: Sequence[str], argument: DType, result: DType) -> str | None:
        """Vector C text that applies the primitive to ``args``; None where there is none for these types."""
        if callable(self.vector):
            return self.vector(args, argument, result)
        if self.vector is None or {argument, result} - {DType.F32, DType.BOOL}:
            return None
        return self.vector.format(*args)


def _unsigned(dtype: DType) -> str:
    """The C type in which signed arithmetic on ``dtype`` may overflow."""
    return "uint64_t" if dtype.itemsize == 8 else "uint32_t"


def _negated(text: str, dtype: DType) -> str:
    return f"({dtype.c})(0u - ({_unsigned(dtype)}){text})"


def _abs(args: Sequence[str], argument: DType, result: DType) -> str:
    return f"({args[0]} < 0 ? {_negated(args[0], argument)} : {args[0]})" if argument.is_signed else args[0]


def _quotient(args: Sequence[str], argument: DType, result: DType) -> str:
    a, b = args
    usual = f"({argument.c})({a} / {b})"
    if argument.is_signed:
        usual = f"({b} == -1 ? {_negated(a, argument)} : {usual})"
    return f"({b} == 0 ? 0 : {usual})"


def _remainder(args: Sequence[str], argument: DType, result: DType) -> str:
    a, b = args
    no_remainder = f"({b} == 0 || {b} == -1)" if argument.is_signed else f"{b} == 0"
    return f"({no_remainder} ? 0 : ({argument.c})({a} % {b}))"


def _shift(symbol: str) -> TypedText:
    def text(args: Sequence[str], argument: DType, result: DType) -> str:
        a, count = args
        bits = 8 * argument.itemsize
        return f"({count} < {bits} ? ({argument.c})(({_unsigned(argument)}){a} {symbol} {count}) : ({argument.c})0)"

    return text


def _cast(args: Sequence[str], argument: DType, result: DType) -> str:
    (a,) = args
    if result is DType.BOOL:
        return f"({a} != 0)"
    if not argument.is_float or result.is_float:
        return f"({result.c}){a}"
    # A float outside the range of the integer type would be undefined behaviour: saturate, NaN gives 0.
    suffix = "" if argument is DType.F64 else "f"
    limit = f"{2.0 ** (8 * result.itemsize - result.is_signed):.1f}{suffix}"
    kind = result.c.removesuffix("_t").upper()
    inside = f"{a} > -{limit} ? ({result.c}){a} : {a} < 0 ? {kind}_MIN : 0"
    if not result.is_signed:
        inside = f"{a} > 0 ? ({result.c}){a} : 0"
    return f"({a} >= {limit} ? {kind}_MAX : {inside})"


def _vector_cast(args: Sequence[str], argument: DType, result: DType) -> str | None:
    if result is not DType.F32:
        return None
    if argument in NARROW:
        return args[0]
    return f"es_from_i32({args[0]})" if argument is DType.I32 else None


def _vector_narrow(args: Sequence[str], argument: DType, result: DType) -> str | None:
    return f"es_round_f16({args[0]})" if argument is DType.F32 else None


def _vector_retype(args: Sequence[str], argument: DType, result: DType) -> str | None:
    return args[0] if argument is DType.F32 and result in NARROW else None


def _vector(template: str) -> VectorText:
    return lambda args, argument, result: template.format(*args)


def _function(name: str, numpy: Callable[..., np.ndarray], arity: int = 1) -> Primitive:
    """A function of ``mathfunctions``."""
    args = ", ".join(f"{{{i}}}" for i in range(arity))
    return Primitive(numpy, f"es_{name}_{{t}}({args})", f"es_{name}_v({args})")


def _compare(numpy: Callable[..., np.ndarray], symbol: str) -> Primitive:
    text = f"({{0}} {symbol} {{1}})"
    return Primitive(numpy, text, text, gives_bool=True)


PRIMITIVES: dict[str, Primitive] = {
    "add": Primitive(np.add, "({0} + {1})", "({0} + {1})", wraps=True),
    "sub": Primitive(np.subtract, "({0} - {1})", "({0} - {1})", wraps=True),
    "mul": Primitive(np.multiply, "({0} * {1})", "({0} * {1})", wraps=True),
    # Integers: truncated; 0 where the divisor is 0.
    "div": Primitive(meaning.divide, "({0} / {1})", "({0} / {1})", integer=_quotient),
    # The remainder of the truncated quotient; integers: 0 where the divisor is 0.
    "fmod": Primitive(np.fmod, "fmod{f}({0}, {1})", integer=_remainder),
    "neg": Primitive(np.negative, "(-{0})", "(-{0})", wraps=True, integer="(0u - {0})"),
    "fma": Primitive(meaning.fma, "({0} * {1} + {2})", "es_fma({0}, {1}, {2})"),
    "abs": Primitive(np.abs, "fabs{f}({0})", "es_abs({0})", integer=_abs),
    # When either argument is NaN the result is the second one, as for the SSE and AVX instructions.
    "max": Primitive(meaning.maximum, "({0} > {1} ? {0} : {1})", "es_max({0}, {1})"),
    "min": Primitive(meaning.minimum, "({0} < {1} ? {0} : {1})", "es_min({0}, {1})"),
    "sqrt": Primitive(np.sqrt, "sqrt{f}({0})", "es_sqrt({0})"),
    "floor": Primitive(np.floor, "floor{f}({0})", "es_floor({0})"),
    "ceil": Primitive(np.ceil, "ceil{f}({0})", "es_ceil({0})"),
    "rint": Primitive(np.rint, "rint{f}({0})", "es_rint({0})"),
    "copysign": Primitive(np.copysign, "copysign{f}({0}, {1})", "es_copysign({0}, {1})"),
    "lt": _compare(np.less, "<"),
    "le": _compare(np.less_equal, "<="),
    "gt": _compare(np.greater, ">"),
    "ge": _compare(np.greater_equal, ">="),
    "eq": _compare(np.equal, "=="),
    "ne": _compare(np.not_equal, "!="),
    "and": _compare(np.logical_and, "&"),
    "or": _compare(np.logical_or, "|"),
    "xor": _compare(np.logical_xor, "^"),
    "not": Primitive(np.logical_not, "(!{0})", "(~{0})", gives_bool=True),
    "bitand": Primitive(np.bitwise_and, "({0} & {1})"),
    "bitor": Primitive(np.bitwise_or, "({0} | {1})"),
    "bitxor": Primitive(np.bitwise_xor, "({0} ^ {1})"),
    "bitnot": Primitive(np.invert, "(~{0})"),
    # On unsigned integers; 0 where the count reaches the width.
    "shl": Primitive(np.left_shift, _shift("<<")),
    "shr": Primitive(np.right_shift, _shift(">>")),
    "select": Primitive(np.where, "({0} ? {1} : {2})", "es_select({0}, {1}, {2})"),
    # To integers: truncated and saturated; ``expr.evaluate`` does it, since the meaning depends on the result's type.
    "cast": Primitive(lambda a: a, _cast, _vector_cast),
    # A float as the integer that it is; the result's type must hold it.
    "retype": Primitive(lambda a: a, lambda args, _, result: f"({result.c}){args[0]}", _vector_retype),
    # Between fp16, which C holds as its bits, and wider floats; ``expr.cast`` applies them.
    "widen": Primitive(lambda a: a, "es_widen_{t}({0})", _vector("{0}")),
    "narrow": Primitive(lambda a: a, "es_narrow_{t}({0})", _vector_narrow),
    # The same for bf16; lanes of vectors hold either as f32.
    "widen_bf16": Primitive(lambda a: a, "es_widen_bf16({0})", _vector("{0}")),
    "narrow_bf16": Primitive(lambda a: a, "es_narrow_bf16({0})", _vector("es_round_bf16({0})")),
    "exp": _function("exp", np.exp),
    "expm1": _function("expm1", np.expm1),
    "log": _function("log", np.log),
    "log1p": _function("log1p", np.log1p),
    "tanh": _function("tanh", np.tanh),
    "erf": _function("erf", np.vectorize(math.erf, otypes=[np.float32])),
    "sigmoid": _function("sigmoid", meaning.sigmoid),
    "softplus": _function("softplus", lambda x: np.logaddexp(x, 0)),
    "sin": _function("sin", np.sin),
    "cos": _function("cos", np.cos),
    "tan": _function("tan", np.tan),
    "asin": _function("asin", np.arcsin),
    "acos": _function("acos", np.arccos),
    "atan": _function("atan", np.arctan),
    "sinh": _function("sinh", np.sinh),
    "cosh": _function("cosh", np.cosh),
    "asinh": _function("asinh", np.arcsinh),
    "acosh": _function("acosh", np.arccosh),
    "atanh": _function("atanh", np.arctanh),
    # On i64: wraps around; a negative exponent gives the truncated quotient, 0 for base 0.
    "pow": _function("pow", meaning.power, 2),
    "quarter_turns": Primitive(meaning.quarter_turns, "es_quarter_turns_{t}({0})"),
    # Exact bit manipulations that the functions are built from. Rounding n + ``c.exponential.bias`` to the nearest
    # leaves the exponent field of 2**n in the low bits, from where exp2_biased takes it.
    "exp2_biased": Primitive(meaning.exp2_biased, "es_exp2_biased_{t}({0})", "es_exp2_biased({0})"),
    # Of positive normal numbers.
    "exponent": Primitive(lambda x: np.frexp(x)[1].astype(x.dtype) - 1, "es_exponent_{t}({0})", "es_exponent({0})"),
    "significand": Primitive(lambda x: np.frexp(x)[0] * 2, "es_significand_{t}({0})", "es_significand({0})"),
}
