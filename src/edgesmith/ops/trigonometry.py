"""Trigonometric and hyperbolic functions and their inverses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgesmith.ops.base import operator
from edgesmith.ops.functions import Function


@operator
@dataclass(frozen=True)
class Sin(Function):
    """Sine of an angle in radians (https://onnx.ai/onnx/operators/onnx__Sin.html)."""

    name: ClassVar[str] = "Sin"
    function: ClassVar[str] = "sin"


@operator
@dataclass(frozen=True)
class Cos(Function):
    """Cosine of an angle in radians (https://onnx.ai/onnx/operators/onnx__Cos.html)."""

    name: ClassVar[str] = "Cos"
    function: ClassVar[str] = "cos"


@operator
@dataclass(frozen=True)
class Tan(Function):
    """Tangent of an angle in radians (https://onnx.ai/onnx/operators/onnx__Tan.html)."""

    name: ClassVar[str] = "Tan"
    function: ClassVar[str] = "tan"


@operator
@dataclass(frozen=True)
class Asin(Function):
    """Arcsine in radians, NaN outside -1 to 1 (https://onnx.ai/onnx/operators/onnx__Asin.html)."""

    name: ClassVar[str] = "Asin"
    function: ClassVar[str] = "asin"


@operator
@dataclass(frozen=True)
class Acos(Function):
    """Arccosine in radians, NaN outside -1 to 1 (https://onnx.ai/onnx/operators/onnx__Acos.html)."""

    name: ClassVar[str] = "Acos"
    function: ClassVar[str] = "acos"


@operator
@dataclass(frozen=True)
class Atan(Function):
    """Arctangent in radians (https://onnx.ai/onnx/operators/onnx__Atan.html)."""

    name: ClassVar[str] = "Atan"
    function: ClassVar[str] = "atan"


@operator
@dataclass(frozen=True)
class Sinh(Function):
    """Hyperbolic sine (https://onnx.ai/onnx/operators/onnx__Sinh.html)."""

    name: ClassVar[str] = "Sinh"
    function: ClassVar[str] = "sinh"


@operator
@dataclass(frozen=True)
class Cosh(Function):
    """Hyperbolic cosine (https://onnx.ai/onnx/operators/onnx__Cosh.html)."""

    name: ClassVar[str] = "Cosh"
    function: ClassVar[str] = "cosh"


@operator
@dataclass(frozen=True)
class Asinh(Function):
    """Inverse hyperbolic sine (https://onnx.ai/onnx/operators/onnx__Asinh.html)."""

    name: ClassVar[str] = "Asinh"
    function: ClassVar[str] = "asinh"


@operator
@dataclass(frozen=True)
class Acosh(Function):
    """Inverse hyperbolic cosine, NaN below 1 (https://onnx.ai/onnx/operators/onnx__Acosh.html)."""

    name: ClassVar[str] = "Acosh"
    function: ClassVar[str] = "acosh"


@operator
@dataclass(frozen=True)
class Atanh(Function):
    """Inverse hyperbolic tangent, NaN outside -1 to 1 (https://onnx.ai/onnx/operators/onnx__Atanh.html)."""

    name: ClassVar[str] = "Atanh"
    function: ClassVar[str] = "atanh"
