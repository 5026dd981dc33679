"""Operators that apply one mathematical function."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgesmith.c.expr import Expr, call
from edgesmith.ir import DType
from edgesmith.ops.base import operator
from edgesmith.ops.elementwise import Elementwise


class Function(Elementwise):
    """A function of one argument; ``edgesmith.c.mathfunctions`` states the errors."""

    function: ClassVar[str]
    """Name of the primitive."""

    def expression(self, *args: Expr) -> Expr:
        return call(self.function, *args)


@operator
@dataclass(frozen=True)
class Exp(Function):
    """e**x (https://onnx.ai/onnx/operators/onnx__Exp.html)."""

    name: ClassVar[str] = "Exp"
    function: ClassVar[str] = "exp"
    case_dtypes: ClassVar[tuple[DType, ...]] = (DType.F32, DType.F64)


@operator
@dataclass(frozen=True)
class Log(Function):
    """ln x (https://onnx.ai/onnx/operators/onnx__Log.html)."""

    name: ClassVar[str] = "Log"
    function: ClassVar[str] = "log"
    case_dtypes: ClassVar[tuple[DType, ...]] = (DType.F32, DType.F64)


@operator
@dataclass(frozen=True)
class Sigmoid(Function):
    """1 / (1 + e**-x) (https://onnx.ai/onnx/operators/onnx__Sigmoid.html)."""

    name: ClassVar[str] = "Sigmoid"
    function: ClassVar[str] = "sigmoid"


@operator
@dataclass(frozen=True)
class Tanh(Function):
    """Hyperbolic tangent (https://onnx.ai/onnx/operators/onnx__Tanh.html)."""

    name: ClassVar[str] = "Tanh"
    function: ClassVar[str] = "tanh"


@operator
@dataclass(frozen=True)
class Erf(Function):
    """Gauss error function (https://onnx.ai/onnx/operators/onnx__Erf.html)."""

    name: ClassVar[str] = "Erf"
    function: ClassVar[str] = "erf"


@operator
@dataclass(frozen=True)
class Sqrt(Function):
    """Square root, NaN below 0 (https://onnx.ai/onnx/operators/onnx__Sqrt.html)."""

    name: ClassVar[str] = "Sqrt"
    function: ClassVar[str] = "sqrt"
    case_dtypes: ClassVar[tuple[DType, ...]] = (DType.F32, DType.F64)


@operator
@dataclass(frozen=True)
class Floor(Function):
    """Largest integer not above x (https://onnx.ai/onnx/operators/onnx__Floor.html)."""

    name: ClassVar[str] = "Floor"
    function: ClassVar[str] = "floor"
    case_dtypes: ClassVar[tuple[DType, ...]] = (DType.F32, DType.F64)


@operator
@dataclass(frozen=True)
class Ceil(Function):
    """Smallest integer not below x (https://onnx.ai/onnx/operators/onnx__Ceil.html)."""

    name: ClassVar[str] = "Ceil"
    function: ClassVar[str] = "ceil"
    case_dtypes: ClassVar[tuple[DType, ...]] = (DType.F32, DType.F64)


@operator
@dataclass(frozen=True)
class Round(Function):
    """Nearest integer, halves to even (https://onnx.ai/onnx/operators/onnx__Round.html)."""

    name: ClassVar[str] = "Round"
    function: ClassVar[str] = "rint"
    case_dtypes: ClassVar[tuple[DType, ...]] = (DType.F32, DType.F64)
