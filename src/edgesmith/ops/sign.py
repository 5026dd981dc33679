"""Abs, Neg, Sign, Reciprocal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgesmith.c.expr import Expr, call, const, select
from edgesmith.ir import DType
from edgesmith.ops.base import operator
from edgesmith.ops.elementwise import Elementwise


@operator
@dataclass(frozen=True)
class Abs(Elementwise):
    """|x|; the most negative integer stays itself (https://onnx.ai/onnx/operators/onnx__Abs.html)."""

    name: ClassVar[str] = "Abs"
    case_dtypes: ClassVar[tuple[DType, ...]] = (DType.F32, DType.F64, DType.I8, DType.I32, DType.I64, DType.U8)

    def expression(self, *args: Expr) -> Expr:
        return call("abs", *args)


@operator
@dataclass(frozen=True)
class Neg(Elementwise):
    """-x; integers wrap around (https://onnx.ai/onnx/operators/onnx__Neg.html)."""

    name: ClassVar[str] = "Neg"
    case_dtypes: ClassVar[tuple[DType, ...]] = (DType.F32, DType.F64, DType.I8, DType.I32, DType.I64)

    def expression(self, *args: Expr) -> Expr:
        (x,) = args
        return -x


@operator
@dataclass(frozen=True)
class Sign(Elementwise):
    """-1, 0 or 1; NaN for NaN (https://onnx.ai/onnx/operators/onnx__Sign.html)."""

    name: ClassVar[str] = "Sign"
    case_dtypes: ClassVar[tuple[DType, ...]] = (DType.F32, DType.F64, DType.I8, DType.I32, DType.I64, DType.U8)

    def expression(self, *args: Expr) -> Expr:
        (x,) = args
        rest = select(x < 0, const(-1, x.dtype), x) if x.dtype.is_signed else x
        return select(x > 0, const(1, x.dtype), rest)


@operator
@dataclass(frozen=True)
class Reciprocal(Elementwise):
    """1 / x (https://onnx.ai/onnx/operators/onnx__Reciprocal.html)."""

    name: ClassVar[str] = "Reciprocal"
    case_dtypes: ClassVar[tuple[DType, ...]] = (DType.F32, DType.F64)

    def expression(self, *args: Expr) -> Expr:
        (x,) = args
        return 1.0 / x
