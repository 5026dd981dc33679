"""Div and Mod."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from edgesmith.c.expr import Expr, call, select
from edgesmith.errors import ModelError
from edgesmith.ir import DType, TensorType
from edgesmith.ops.base import Case, operator
from edgesmith.ops.elementwise import Elementwise

_INTEGERS = (DType.I8, DType.I16, DType.I32, DType.I64, DType.U8, DType.U16, DType.U32, DType.U64)


@operator
@dataclass(frozen=True)
class Div(Elementwise):
    """a / b; integers truncate, and give 0 for b = 0 (https://onnx.ai/onnx/operators/onnx__Div.html)."""

    name: ClassVar[str] = "Div"
    arity: ClassVar[int] = 2
    case_dtypes: ClassVar[tuple[DType, ...]] = (DType.F32, DType.F64, DType.I32, DType.I64)

    def expression(self, *args: Expr) -> Expr:
        a, b = args
        return a / b


@operator
@dataclass(frozen=True)
class Mod(Elementwise):
    """The remainder of a / b, of the sign of b, or of a when ``fmod``; integers give 0 for b = 0.

    Source: https://onnx.ai/onnx/operators/onnx__Mod.html.
    """

    name: ClassVar[str] = "Mod"
    arity: ClassVar[int] = 2
    fmod: int = 0

    def infer(self, inputs: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        if not self.fmod and any(t is not None and t.dtype.is_float for t in inputs):
            raise ModelError("Mod of floats needs fmod = 1", where=self.name)
        return super().infer(inputs)

    def expression(self, *args: Expr) -> Expr:
        a, b = args
        remainder = call("fmod", a, b)
        if self.fmod or not a.dtype.is_signed:
            return remainder
        opposite = call("xor", remainder < 0, b < 0)
        return select(call("and", call("ne", remainder, 0), opposite), remainder + b, remainder)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        for dtype in _INTEGERS:
            yield Case(cls(), (TensorType((4, 9), dtype), TensorType((9,), dtype)), str(dtype))
        for dtype in (DType.F32, DType.I32, DType.I64):
            yield Case(cls(fmod=1), (TensorType((4, 9), dtype), TensorType((9,), dtype)), f"fmod {dtype}")
