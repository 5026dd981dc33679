"""The reductions of ONNX: ReduceSum, ReduceMean, ReduceMax, ReduceMin, ReduceProd, ReduceL1, ReduceL2, ..."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgesmith.c.expr import Expr, call, cast, const, select
from edgesmith.ir import DType
from edgesmith.ops.base import operator
from edgesmith.ops.reduction import Pass, Reduction
from edgesmith.ops.variadic import largest, smallest

_ARITHMETIC = (DType.F32, DType.F64, DType.I32, DType.I64)


def _lowest(dtype: DType) -> float:
    return -math.inf if dtype.is_float else dtype.limits[0]


def _highest(dtype: DType) -> float:
    return math.inf if dtype.is_float else dtype.limits[1]


@operator
@dataclass(frozen=True)
class ReduceSum(Reduction):
    """Sum (https://onnx.ai/onnx/operators/onnx__ReduceSum.html)."""

    name: ClassVar[str] = "ReduceSum"
    case_dtypes: ClassVar[tuple[DType, ...]] = _ARITHMETIC

    def passes(self, dtype: DType) -> Sequence[Pass]:
        return (Pass(0, lambda total, x: total + x),)

    def reduce(self, x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        return np.asarray(x.sum(axes, dtype=x.dtype))


@operator
@dataclass(frozen=True)
class ReduceMean(ReduceSum):
    """Mean; of integers truncated (https://onnx.ai/onnx/operators/onnx__ReduceMean.html)."""

    name: ClassVar[str] = "ReduceMean"
    case_dtypes: ClassVar[tuple[DType, ...]] = (DType.F32, DType.F64, DType.I32)

    def finish(self, *results: Expr, count: int) -> Expr:
        return results[-1] / count

    def reduce(self, x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        return np.trunc(x.mean(axes)) if x.dtype.kind != "f" else np.asarray(x.mean(axes))


@operator
@dataclass(frozen=True)
class ReduceMax(Reduction):
    """Largest element, NaN where there is one (https://onnx.ai/onnx/operators/onnx__ReduceMax.html)."""

    name: ClassVar[str] = "ReduceMax"
    case_dtypes: ClassVar[tuple[DType, ...]] = (*_ARITHMETIC, DType.I8, DType.U8, DType.BOOL)

    def passes(self, dtype: DType) -> Sequence[Pass]:
        return (Pass(_lowest(dtype), largest),)

    def reduce(self, x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        return np.asarray(x.max(axes, initial=_lowest(DType.of(x.dtype))))


@operator
@dataclass(frozen=True)
class ReduceMin(Reduction):
    """Smallest element, NaN where there is one (https://onnx.ai/onnx/operators/onnx__ReduceMin.html)."""

    name: ClassVar[str] = "ReduceMin"
    case_dtypes: ClassVar[tuple[DType, ...]] = (*_ARITHMETIC, DType.I8, DType.U8, DType.BOOL)

    def passes(self, dtype: DType) -> Sequence[Pass]:
        return (Pass(_highest(dtype), smallest),)

    def reduce(self, x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        return np.asarray(x.min(axes, initial=_highest(DType.of(x.dtype))))


@operator
@dataclass(frozen=True)
class ReduceProd(Reduction):
    """Product (https://onnx.ai/onnx/operators/onnx__ReduceProd.html)."""

    name: ClassVar[str] = "ReduceProd"
    case_dtypes: ClassVar[tuple[DType, ...]] = _ARITHMETIC

    def passes(self, dtype: DType) -> Sequence[Pass]:
        return (Pass(1, lambda total, x: total * x),)

    def reduce(self, x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        return np.asarray(x.prod(axes, dtype=x.dtype))


@operator
@dataclass(frozen=True)
class ReduceL1(Reduction):
    """Sum of absolute values (https://onnx.ai/onnx/operators/onnx__ReduceL1.html)."""

    name: ClassVar[str] = "ReduceL1"
    case_dtypes: ClassVar[tuple[DType, ...]] = (DType.F32, DType.I32)

    def passes(self, dtype: DType) -> Sequence[Pass]:
        return (Pass(0, lambda total, x: total + call("abs", x)),)

    def reduce(self, x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        return np.asarray(np.abs(x).sum(axes, dtype=x.dtype))


@operator
@dataclass(frozen=True)
class ReduceSumSquare(Reduction):
    """Sum of squares (https://onnx.ai/onnx/operators/onnx__ReduceSumSquare.html)."""

    name: ClassVar[str] = "ReduceSumSquare"
    case_dtypes: ClassVar[tuple[DType, ...]] = (DType.F32, DType.F64, DType.I32)

    def passes(self, dtype: DType) -> Sequence[Pass]:
        return (Pass(0, lambda total, x: total + x * x),)

    def reduce(self, x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        return np.asarray((x * x).sum(axes, dtype=x.dtype))


@operator
@dataclass(frozen=True)
class ReduceL2(ReduceSumSquare):
    """Square root of the sum of squares; of integers truncated (https://onnx.ai/onnx/operators/onnx__ReduceL2.html)."""

    name: ClassVar[str] = "ReduceL2"
    case_dtypes: ClassVar[tuple[DType, ...]] = (DType.F32, DType.I32)

    def finish(self, *results: Expr, count: int) -> Expr:
        (total,) = results
        if total.dtype.is_float:
            return call("sqrt", total)
        return cast(call("sqrt", cast(total, DType.F64)), total.dtype)

    def reduce(self, x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        return np.asarray(np.sqrt(super().reduce(x, axes).astype(np.float64)))


@operator
@dataclass(frozen=True)
class ReduceLogSum(ReduceSum):
    """ln of the sum (https://onnx.ai/onnx/operators/onnx__ReduceLogSum.html)."""

    name: ClassVar[str] = "ReduceLogSum"
    case_dtypes: ClassVar[tuple[DType, ...]] = (DType.F32, DType.F64)

    def finish(self, *results: Expr, count: int) -> Expr:
        return call("log", *results)

    def reduce(self, x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        return np.asarray(np.log(x.sum(axes)))


@operator
@dataclass(frozen=True)
class ReduceLogSumExp(Reduction):
    """ln of the sum of e**x, shifted by the maximum (https://onnx.ai/onnx/operators/onnx__ReduceLogSumExp.html)."""

    name: ClassVar[str] = "ReduceLogSumExp"
    case_dtypes: ClassVar[tuple[DType, ...]] = (DType.F32, DType.F64)

    def passes(self, dtype: DType) -> Sequence[Pass]:
        return Pass(-math.inf, largest), Pass(0, lambda total, x, top: total + call("exp", x - _finite(top)))

    def finish(self, *results: Expr, count: int) -> Expr:
        top, total = results
        return call("log", total) + _finite(top)

    def reduce(self, x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        return np.asarray(np.logaddexp.reduce(x, axes))


def _finite(x: Expr) -> Expr:
    """``x``, or 0 where it is infinite: infinity minus itself would be NaN."""
    return select(call("eq", call("abs", x), math.inf), const(0, x.dtype), x)
