"""Activations of linear pieces: LeakyRelu, PRelu, ThresholdedRelu, Shrink, HardSigmoid, HardSwish."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgesmith.c.expr import Expr, call, cast, const, select
from edgesmith.ir import DType, TensorType
from edgesmith.ops.base import Case, f32, operator
from edgesmith.ops.elementwise import Elementwise


@operator
@dataclass(frozen=True)
class LeakyRelu(Elementwise):
    """x, or alpha x below 0 (https://onnx.ai/onnx/operators/onnx__LeakyRelu.html)."""

    name: ClassVar[str] = "LeakyRelu"
    alpha: float = 0.01

    def expression(self, *args: Expr) -> Expr:
        (x,) = args
        return select(x < 0.0, x * self.alpha, x)


@operator
@dataclass(frozen=True)
class PRelu(Elementwise):
    """x, or slope x below 0 with a slope that broadcasts to x (https://onnx.ai/onnx/operators/onnx__PRelu.html)."""

    name: ClassVar[str] = "PRelu"
    arity: ClassVar[int] = 2

    def expression(self, *args: Expr) -> Expr:
        x, slope = args
        return select(x < 0, x * slope, x)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        slopes = np.linspace(-0.5, 0.5, 3, dtype=np.float32).reshape(3, 1, 1)
        yield Case(cls(), (f32(2, 3, 5, 7), slopes), "channel")
        yield Case(cls(), (f32(2, 3, 5, 7), f32(2, 3, 5, 7)), "run-time slope")
        yield Case(cls(), (TensorType((4, 3), DType.I32), TensorType((3,), DType.I32)), "i32")


@operator
@dataclass(frozen=True)
class ThresholdedRelu(Elementwise):
    """x above alpha, otherwise 0 (https://onnx.ai/onnx/operators/onnx__ThresholdedRelu.html)."""

    name: ClassVar[str] = "ThresholdedRelu"
    alpha: float = 1.0

    def expression(self, *args: Expr) -> Expr:
        (x,) = args
        return select(x > self.alpha, x, const(0, x.dtype))


@operator
@dataclass(frozen=True)
class Shrink(Elementwise):
    """x + bias below -lambd, x - bias above lambd, otherwise 0 (https://onnx.ai/onnx/operators/onnx__Shrink.html)."""

    name: ClassVar[str] = "Shrink"
    case_dtypes: ClassVar[tuple[DType, ...]] = (DType.F32, DType.I32)
    bias: float = 0.0
    lambd: float = 0.5

    def expression(self, *args: Expr) -> Expr:
        x = args[0] if args[0].dtype.is_float else cast(args[0], DType.F32)
        above = select(x > self.lambd, x - self.bias, const(0, x.dtype))
        return cast(select(x < -self.lambd, x + self.bias, above), args[0].dtype)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from super().cases()
        yield Case(cls(bias=1.5, lambd=1.5), (f32(40),), "soft")


@operator
@dataclass(frozen=True)
class HardSigmoid(Elementwise):
    """max(0, min(1, alpha x + beta)) (https://onnx.ai/onnx/operators/onnx__HardSigmoid.html)."""

    name: ClassVar[str] = "HardSigmoid"
    alpha: float = 0.2
    beta: float = 0.5

    def expression(self, *args: Expr) -> Expr:
        (x,) = args
        return _clamped_line(x, self.alpha, self.beta)


@operator
@dataclass(frozen=True)
class HardSwish(Elementwise):
    """x max(0, min(1, x / 6 + 0.5)) (https://onnx.ai/onnx/operators/onnx__HardSwish.html)."""

    name: ClassVar[str] = "HardSwish"

    def expression(self, *args: Expr) -> Expr:
        (x,) = args
        return x * _clamped_line(x, 1 / 6, 0.5)


def _clamped_line(x: Expr, slope: float, offset: float) -> Expr:
    """The line slope x + offset between 0 and 1."""
    line = call("fma", x, const(slope, x.dtype), const(offset, x.dtype))
    return call("max", 0.0, call("min", 1.0, line))
