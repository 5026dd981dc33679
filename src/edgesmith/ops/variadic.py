"""Operators on any number of inputs: Sum, Mean, Min, Max."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from typing import ClassVar

from edgesmith.c.expr import Expr, call, select
from edgesmith.ir import DType
from edgesmith.ops.base import Case, f32, operator
from edgesmith.ops.elementwise import Elementwise

__all__ = ["largest", "smallest"]


class Variadic(Elementwise):
    """Broadcasts all its inputs."""

    arity: ClassVar[int] = 2

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from super().cases()
        yield Case(cls(), (f32(4, 5),), "one")
        yield Case(cls(), (f32(4, 5), f32(5), f32(3, 1, 1)), "three")


@operator
@dataclass(frozen=True)
class Sum(Variadic):
    """Sum of the inputs (https://onnx.ai/onnx/operators/onnx__Sum.html)."""

    name: ClassVar[str] = "Sum"
    case_dtypes: ClassVar[tuple[DType, ...]] = (DType.F32, DType.F64)

    def expression(self, *args: Expr) -> Expr:
        return reduce(lambda a, b: a + b, args)


@operator
@dataclass(frozen=True)
class Mean(Variadic):
    """Mean of the inputs (https://onnx.ai/onnx/operators/onnx__Mean.html)."""

    name: ClassVar[str] = "Mean"

    def expression(self, *args: Expr) -> Expr:
        return reduce(lambda a, b: a + b, args) * (1 / len(args))


def _either(primitive: str, a: Expr, b: Expr) -> Expr:
    chosen = call(primitive, a, b)
    return select(call("ne", a, a), a, chosen) if a.dtype.is_float else chosen


def largest(*args: Expr) -> Expr:
    """The largest argument, NaN where one is."""
    return reduce(lambda a, b: _either("max", a, b), args)


def smallest(*args: Expr) -> Expr:
    """The smallest argument, NaN where one is."""
    return reduce(lambda a, b: _either("min", a, b), args)


_ORDERED = (DType.F32, DType.F64, DType.I8, DType.I32, DType.I64, DType.U8, DType.U32, DType.U64)


@operator
@dataclass(frozen=True)
class Max(Variadic):
    """Largest of the inputs, NaN where one is (https://onnx.ai/onnx/operators/onnx__Max.html)."""

    name: ClassVar[str] = "Max"
    case_dtypes: ClassVar[tuple[DType, ...]] = _ORDERED

    def expression(self, *args: Expr) -> Expr:
        return largest(*args)


@operator
@dataclass(frozen=True)
class Min(Variadic):
    """Smallest of the inputs, NaN where one is (https://onnx.ai/onnx/operators/onnx__Min.html)."""

    name: ClassVar[str] = "Min"
    case_dtypes: ClassVar[tuple[DType, ...]] = _ORDERED

    def expression(self, *args: Expr) -> Expr:
        return smallest(*args)
