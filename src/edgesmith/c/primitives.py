"""The primitives of expressions: numpy meaning, scalar C and, for f32, vector C."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edgesmith.ir import DType

__all__ = ["PRIMITIVES", "Primitive"]


@dataclass(frozen=True)
class Primitive:
    """One operation on elements.

    Args:
        numpy: its meaning.
        scalar: C template over the arguments ``{0}``, ``{1}``, ...; ``{f}`` is the suffix of a libm function of the
            argument's type (``f`` or nothing), ``{r}`` the C type of the result.
        vector: template over f32 vectors ``es_v`` and masks ``es_m``; None when there is none.
        gives_bool: the result is a truth value.
        wraps: a signed integer result may overflow; computed in the unsigned type, where C defines it.
        integer: template used instead of ``scalar`` for integers.
    """

    numpy: Callable[..., np.ndarray]
    scalar: str
    vector: str | None = None
    gives_bool: bool = False
    wraps: bool = False
    integer: str | None = None

    def scalar_c(self, args: list[str], argument: DType, result: DType) -> str:
        """Scalar C text that applies the primitive to ``args`` of type ``argument``."""
        template = self.scalar
        if not argument.is_float and self.integer is not None:
            template = self.integer
        if self.wraps and not argument.is_float:
            wide = "uint64_t" if argument.itemsize == 8 else "uint32_t"
            args = [f"({wide}){a}" for a in args]
            return f"({result.c}){template.format(*args)}"
        text = template.format(*args, f="" if argument is DType.F64 else "f", r=result.c)
        narrow = result.itemsize < 4 and not result.is_float and not self.gives_bool
        return f"({result.c}){text}" if narrow else text


def _fma(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    return (a.astype(np.float64) * b + c).astype(a.dtype)


PRIMITIVES: dict[str, Primitive] = {
    "add": Primitive(np.add, "({0} + {1})", "({0} + {1})", wraps=True),
    "sub": Primitive(np.subtract, "({0} - {1})", "({0} - {1})", wraps=True),
    "mul": Primitive(np.multiply, "({0} * {1})", "({0} * {1})", wraps=True),
    "div": Primitive(np.divide, "({0} / {1})", "({0} / {1})"),
    "neg": Primitive(np.negative, "(-{0})", "(-{0})", wraps=True, integer="(0u - {0})"),
    "fma": Primitive(_fma, "({0} * {1} + {2})", "es_fma({0}, {1}, {2})"),
    "abs": Primitive(np.abs, "fabs{f}({0})", "es_abs({0})", integer="({0} < 0 ? -{0} : {0})"),
    # When either argument is NaN the result is the second one, as for the SSE and AVX instructions.
    "max": Primitive(lambda a, b: np.where(a > b, a, b), "({0} > {1} ? {0} : {1})", "es_max({0}, {1})"),
    "min": Primitive(lambda a, b: np.where(a < b, a, b), "({0} < {1} ? {0} : {1})", "es_min({0}, {1})"),
    "sqrt": Primitive(np.sqrt, "sqrt{f}({0})", "es_sqrt({0})"),
    "floor": Primitive(np.floor, "floor{f}({0})", "es_floor({0})"),
    "ceil": Primitive(np.ceil, "ceil{f}({0})", "es_ceil({0})"),
    "rint": Primitive(np.rint, "rint{f}({0})", "es_rint({0})"),
    "lt": Primitive(np.less, "({0} < {1})", "({0} < {1})", gives_bool=True),
    "le": Primitive(np.less_equal, "({0} <= {1})", "({0} <= {1})", gives_bool=True),
    "gt": Primitive(np.greater, "({0} > {1})", "({0} > {1})", gives_bool=True),
    "ge": Primitive(np.greater_equal, "({0} >= {1})", "({0} >= {1})", gives_bool=True),
    "eq": Primitive(np.equal, "({0} == {1})", "({0} == {1})", gives_bool=True),
    "ne": Primitive(np.not_equal, "({0} != {1})", "({0} != {1})", gives_bool=True),
    "and": Primitive(np.logical_and, "({0} & {1})", "({0} & {1})", gives_bool=True),
    "or": Primitive(np.logical_or, "({0} | {1})", "({0} | {1})", gives_bool=True),
    "xor": Primitive(np.logical_xor, "({0} ^ {1})", "({0} ^ {1})", gives_bool=True),
    "not": Primitive(np.logical_not, "(!{0})", "(~{0})", gives_bool=True),
    "select": Primitive(np.where, "({0} ? {1} : {2})", "es_select({0}, {1}, {2})"),
    "cast": Primitive(lambda a: a, "({r}){0}"),
    # The functions of mathfunctions.py, on f32.
    "exp": Primitive(np.exp, "es_exp_f32({0})", "es_exp_v({0})"),
    "log": Primitive(np.log, "es_log_f32({0})", "es_log_v({0})"),
    "tanh": Primitive(np.tanh, "es_tanh_f32({0})", "es_tanh_v({0})"),
    "erf": Primitive(np.vectorize(math.erf, otypes=[np.float32]), "es_erf_f32({0})", "es_erf_v({0})"),
    "sigmoid": Primitive(lambda x: 1 / (1 + np.exp(-x)), "es_sigmoid_f32({0})", "es_sigmoid_v({0})"),
    # Exact bit manipulations that the functions are built from.
    "exp2i": Primitive(np.exp2, "es_exp2i_f32({0})", "es_exp2i({0})"),
    "exponent": Primitive(lambda x: np.frexp(x)[1].astype(x.dtype) - 1, "es_exponent_f32({0})", "es_exponent({0})"),
    "significand": Primitive(lambda x: np.frexp(x)[0] * 2, "es_significand_f32({0})", "es_significand({0})"),
}
