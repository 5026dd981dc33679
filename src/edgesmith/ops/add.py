"""Add."""

from dataclasses import dataclass
from typing import ClassVar

from edgesmith.c.expr import Expr
from edgesmith.ops.base import operator
from edgesmith.ops.elementwise import Elementwise


@operator
@dataclass(frozen=True)
class Add(Elementwise):
    """a + b with broadcasting; integers wrap around (https://onnx.ai/onnx/operators/onnx__Add.html)."""

    name: ClassVar[str] = "Add"
    arity: ClassVar[int] = 2

    def expression(self, *args: Expr) -> Expr:
        a, b = args
        return a + b
