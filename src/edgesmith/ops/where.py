"""Where."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from edgesmith.c.expr import Expr, select
from edgesmith.ir import DType, TensorType
from edgesmith.ops.base import Case, operator
from edgesmith.ops.elementwise import Elementwise


@operator
@dataclass(frozen=True)
class Where(Elementwise):
    """a where the condition holds, otherwise b (https://onnx.ai/onnx/operators/onnx__Where.html)."""

    name: ClassVar[str] = "Where"
    arity: ClassVar[int] = 3

    def expression(self, *args: Expr) -> Expr:
        return select(*args)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        for dtype in (DType.F32, DType.I64, DType.I32, DType.U8):
            a, b = TensorType((3, 1), dtype), TensorType((2, 3, 4), dtype)
            yield Case(cls(), (TensorType((4,), DType.BOOL), a, b), str(dtype))
