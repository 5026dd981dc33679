"""Comparisons: Equal, Less, LessOrEqual, Greater, GreaterOrEqual, IsNaN, IsInf."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgesmith.c.expr import Expr, call
from edgesmith.ir import DType
from edgesmith.ops.base import Case, operator
from edgesmith.ops.elementwise import Elementwise

_SPECIAL = np.array([0.0, -1.5, np.inf, -np.inf, np.nan, 3e38], np.float32)


class Comparison(Elementwise):
    """Compares two inputs element by element with broadcasting; false where either is NaN."""

    arity: ClassVar[int] = 2
    case_dtypes: ClassVar[tuple[DType, ...]] = (DType.F32, DType.F64, DType.I32, DType.I64)
    primitive: ClassVar[str]

    def expression(self, *args: Expr) -> Expr:
        return call(self.primitive, *args)


@operator
@dataclass(frozen=True)
class Equal(Comparison):
    """a = b (https://onnx.ai/onnx/operators/onnx__Equal.html)."""

    name: ClassVar[str] = "Equal"
    primitive: ClassVar[str] = "eq"
    case_dtypes: ClassVar[tuple[DType, ...]] = (*Comparison.case_dtypes, DType.BOOL)


@operator
@dataclass(frozen=True)
class Less(Comparison):
    """a < b (https://onnx.ai/onnx/operators/onnx__Less.html)."""

    name: ClassVar[str] = "Less"
    primitive: ClassVar[str] = "lt"


@operator
@dataclass(frozen=True)
class LessOrEqual(Comparison):
    """a <= b (https://onnx.ai/onnx/operators/onnx__LessOrEqual.html)."""

    name: ClassVar[str] = "LessOrEqual"
    primitive: ClassVar[str] = "le"


@operator
@dataclass(frozen=True)
class Greater(Comparison):
    """a > b (https://onnx.ai/onnx/operators/onnx__Greater.html)."""

    name: ClassVar[str] = "Greater"
    primitive: ClassVar[str] = "gt"


@operator
@dataclass(frozen=True)
class GreaterOrEqual(Comparison):
    """a >= b (https://onnx.ai/onnx/operators/onnx__GreaterOrEqual.html)."""

    name: ClassVar[str] = "GreaterOrEqual"
    primitive: ClassVar[str] = "ge"


@operator
@dataclass(frozen=True)
class IsNaN(Elementwise):
    """Whether x is NaN (https://onnx.ai/onnx/operators/onnx__IsNaN.html)."""

    name: ClassVar[str] = "IsNaN"

    def expression(self, *args: Expr) -> Expr:
        (x,) = args
        return call("ne", x, x)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield Case(cls(), (_SPECIAL,))


@operator
@dataclass(frozen=True)
class IsInf(Elementwise):
    """Whether x is infinite, of either sign or of one (https://onnx.ai/onnx/operators/onnx__IsInf.html)."""

    name: ClassVar[str] = "IsInf"
    detect_negative: int = 1
    detect_positive: int = 1

    def expression(self, *args: Expr) -> Expr:
        (x,) = args
        high = call("eq", x, math.inf if self.detect_positive else math.nan)
        low = call("eq", x, -math.inf if self.detect_negative else math.nan)
        return call("or", low, high)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield Case(cls(), (_SPECIAL,))
        yield Case(cls(detect_negative=0), (_SPECIAL,), "positive")
        yield Case(cls(detect_positive=0), (_SPECIAL,), "negative")
