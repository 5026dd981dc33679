"""Logical and bitwise operators."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from edgesmith.c.expr import Expr, call
from edgesmith.ir import DType, TensorType
from edgesmith.ops.base import Case, OnnxNode, Operator, operator
from edgesmith.ops.elementwise import Elementwise

_SIGNED = (DType.I8, DType.I16, DType.I32, DType.I64)
_UNSIGNED = (DType.U8, DType.U16, DType.U32, DType.U64)


class OfOnePrimitive(Elementwise):
    """An operator that is one primitive."""

    arity: ClassVar[int] = 2
    primitive: ClassVar[str]

    def expression(self, *args: Expr) -> Expr:
        return call(self.primitive, *args)


@operator
@dataclass(frozen=True)
class And(OfOnePrimitive):
    """Logical conjunction (https://onnx.ai/onnx/operators/onnx__And.html)."""

    name: ClassVar[str] = "And"
    primitive: ClassVar[str] = "and"
    case_dtypes: ClassVar[tuple[DType, ...]] = (DType.BOOL,)


@operator
@dataclass(frozen=True)
class Or(OfOnePrimitive):
    """Logical disjunction (https://onnx.ai/onnx/operators/onnx__Or.html)."""

    name: ClassVar[str] = "Or"
    primitive: ClassVar[str] = "or"
    case_dtypes: ClassVar[tuple[DType, ...]] = (DType.BOOL,)


@operator
@dataclass(frozen=True)
class Xor(OfOnePrimitive):
    """Exclusive disjunction (https://onnx.ai/onnx/operators/onnx__Xor.html)."""

    name: ClassVar[str] = "Xor"
    primitive: ClassVar[str] = "xor"
    case_dtypes: ClassVar[tuple[DType, ...]] = (DType.BOOL,)


@operator
@dataclass(frozen=True)
class Not(OfOnePrimitive):
    """Negation (https://onnx.ai/onnx/operators/onnx__Not.html)."""

    name: ClassVar[str] = "Not"
    arity: ClassVar[int] = 1
    primitive: ClassVar[str] = "not"
    case_dtypes: ClassVar[tuple[DType, ...]] = (DType.BOOL,)


@operator
@dataclass(frozen=True)
class BitwiseAnd(OfOnePrimitive):
    """Conjunction of bits (https://onnx.ai/onnx/operators/onnx__BitwiseAnd.html)."""

    name: ClassVar[str] = "BitwiseAnd"
    primitive: ClassVar[str] = "bitand"
    case_dtypes: ClassVar[tuple[DType, ...]] = _SIGNED + _UNSIGNED


@operator
@dataclass(frozen=True)
class BitwiseOr(OfOnePrimitive):
    """Disjunction of bits (https://onnx.ai/onnx/operators/onnx__BitwiseOr.html)."""

    name: ClassVar[str] = "BitwiseOr"
    primitive: ClassVar[str] = "bitor"
    case_dtypes: ClassVar[tuple[DType, ...]] = _SIGNED + _UNSIGNED


@operator
@dataclass(frozen=True)
class BitwiseXor(OfOnePrimitive):
    """Exclusive disjunction of bits (https://onnx.ai/onnx/operators/onnx__BitwiseXor.html)."""

    name: ClassVar[str] = "BitwiseXor"
    primitive: ClassVar[str] = "bitxor"
    case_dtypes: ClassVar[tuple[DType, ...]] = _SIGNED + _UNSIGNED


@operator
@dataclass(frozen=True)
class BitwiseNot(OfOnePrimitive):
    """All bits inverted (https://onnx.ai/onnx/operators/onnx__BitwiseNot.html)."""

    name: ClassVar[str] = "BitwiseNot"
    arity: ClassVar[int] = 1
    primitive: ClassVar[str] = "bitnot"
    case_dtypes: ClassVar[tuple[DType, ...]] = _SIGNED + _UNSIGNED


@operator
@dataclass(frozen=True)
class BitShift(Elementwise):
    """a moved by b bits; 0 where b reaches the width (https://onnx.ai/onnx/operators/onnx__BitShift.html)."""

    name: ClassVar[str] = "BitShift"
    arity: ClassVar[int] = 2
    direction: str

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> tuple[Operator, tuple[str, ...]]:
        direction = str(node.attributes.get("direction"))
        if direction not in ("LEFT", "RIGHT"):
            raise node.unsupported(f"direction {direction!r}")
        return cls(direction), node.inputs

    def expression(self, *args: Expr) -> Expr:
        return call("shl" if self.direction == "LEFT" else "shr", *args)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        for dtype in (DType.U8, DType.U32, DType.U64):
            types = (TensorType((3, 4), dtype), TensorType((4,), dtype))
            yield Case(cls("LEFT"), types, f"left {dtype}")
            yield Case(cls("RIGHT"), types, f"right {dtype}")
