"""Relu."""

from dataclasses import dataclass
from typing import ClassVar

from edgesmith.c.expr import Expr, call
from edgesmith.ops.base import operator
from edgesmith.ops.elementwise import Elementwise


@operator
@dataclass(frozen=True)
class Relu(Elementwise):
    """max(0, x); NaN stays NaN (https://onnx.ai/onnx/operators/onnx__Relu.html)."""

    name: ClassVar[str] = "Relu"

    def expression(self, *args: Expr) -> Expr:
        (x,) = args
        return call("max", 0.0, x)
