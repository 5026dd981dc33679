"""QuantizeLinear and DequantizeLinear with one scale for the whole tensor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgesmith.c.expr import Expr, call, cast, const
from edgesmith.errors import ModelError, UnsupportedOp
from edgesmith.ir import DType, TensorType
from edgesmith.ops.base import Case, OnnxNode, Operator, operator
from edgesmith.ops.block_scales import DequantizeLinearByBlock
from edgesmith.ops.elementwise import Elementwise
from edgesmith.ops.quantize_by_axis import DequantizeLinearByAxis, QuantizeLinearByAxis, quantized_type

__all__ = ["DequantizeLinear", "QuantizeLinear"]


@operator
@dataclass(frozen=True)
class QuantizeLinear(Elementwise):
    """x / scale, rounded to nearest even, plus zero point, saturated; NaN gives the smallest number.

    Inputs are x (f32), the scale (one element) and, where there is one, the zero point.

    Source: https://onnx.ai/onnx/operators/onnx__QuantizeLinear.html.
    """

    name: ClassVar[str] = "QuantizeLinear"
    dtype: DType = DType.U8

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> tuple[Operator, tuple[str, ...]]:
        if node.type(1).size > 1:
            return QuantizeLinearByAxis.from_onnx(node)
        return cls(quantized_type(node)), node.inputs

    def to_onnx(self) -> tuple[str, dict[str, object], tuple[np.ndarray | None, ...]]:
        return self.name, {"output_dtype": self.dtype.value}, ()

    def infer(self, inputs: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        x = _checked(self.name, inputs)
        if x.dtype is not DType.F32:
            raise UnsupportedOp(f"QuantizeLinear of {x}")
        return (TensorType(x.shape, self.dtype),)

    def expression(self, *args: Expr) -> Expr:
        x, scale, zero = (*args, const(0, self.dtype))[:3]
        exact = scale.op == "const" and scale.value == 1.0
        steps = call("rint", x if exact else x / scale)
        if zero.op != "const" or zero.value != 0:
            steps = steps + cast(zero, DType.F32)
        low, high = self.dtype.limits
        bounded = call("min", call("max", steps, float(low)), float(high))
        return call("retype", bounded, dtype=self.dtype)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        values = np.array([[0.3, -0.3, 127.6, -1e9, 1e9], [0.5, 1.5, 2.5, -0.5, 6.0]], np.float32)
        for dtype, zero in ((DType.U8, 128), (DType.I8, -3), (DType.I16, 0), (DType.U16, 9)):
            point = np.array(zero, dtype.numpy)
            yield Case(cls(dtype), (values, np.array(0.5, np.float32), point), str(dtype))
        scale = np.array([0.037], np.float32)
        yield Case(cls(), (TensorType((2, 3, 4, 5), DType.F32), scale), "no zero point")


@operator
@dataclass(frozen=True)
class DequantizeLinear(Elementwise):
    """(x - zero point) * scale.

    Inputs are x, the scale (f32, one element) and, where there is one, the zero point.

    Source: https://onnx.ai/onnx/operators/onnx__DequantizeLinear.html.
    """

    name: ClassVar[str] = "DequantizeLinear"

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> tuple[Operator, tuple[str, ...]]:
        if node.attributes.get("block_size"):
            return DequantizeLinearByBlock.from_onnx(node)
        if node.type(1).size > 1:
            return DequantizeLinearByAxis.from_onnx(node)
        if node.attributes.get("output_dtype"):
            raise node.unsupported("an output of another type than f32")
        return cls(), node.inputs

    def infer(self, inputs: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        x = _checked(self.name, inputs)
        if x.dtype.is_float or x.dtype.itemsize > 4:
            raise UnsupportedOp(f"DequantizeLinear of {x}")
        return (TensorType(x.shape, DType.F32),)

    def expression(self, *args: Expr) -> Expr:
        x, scale, zero = (*args, const(0, args[0].dtype))[:3]
        value = cast(x, DType.F32)
        if zero.op != "const" or zero.value != 0:
            value = value - cast(zero, DType.F32)
        return value if scale.op == "const" and scale.value == 1.0 else value * scale

    @classmethod
    def cases(cls) -> Iterator[Case]:
        scale = np.array(0.37, np.float32)
        for dtype, zero in ((DType.U8, 128), (DType.I8, -3), (DType.I16, 0), (DType.U16, 9)):
            yield Case(cls(), (TensorType((2, 3, 4, 5), dtype), scale, np.array(zero, dtype.numpy)), str(dtype))
        yield Case(cls(), (TensorType((7,), DType.I32), scale.reshape(1)), "i32")


def _checked(operator: str, inputs: Sequence[TensorType | None]) -> TensorType:
    """The type of x."""
    x, scale, zero = (*inputs, None)[:3]
    assert x is not None and scale is not None
    if scale.dtype is not DType.F32 or scale.size != 1 or (zero is not None and zero.size != 1):
        raise ModelError(f"scale {scale} and zero point {zero} do not fit {x}", where=operator)
    if max(scale.rank, zero.rank if zero else 0) > x.rank:
        raise UnsupportedOp(f"{operator} of a number by a scale of shape {scale.shape}")
    return x
