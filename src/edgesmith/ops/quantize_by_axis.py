"""QuantizeLinear and DequantizeLinear with a scale for each index of an axis."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgesmith.c.writer import Writer
from edgesmith.errors import ModelError, UnsupportedOp
from edgesmith.ir import DType, TensorType
from edgesmith.ops.base import Array, Case, Layout, OnnxNode, Operator, operator

__all__ = ["DequantizeLinearByAxis", "QuantizeLinearByAxis", "quantized_type"]

_INTEGERS = (DType.I8, DType.U8, DType.I16, DType.U16, DType.I32)


def quantized_type(node: OnnxNode) -> DType:
    """Type of the result of a QuantizeLinear: that of its zero point, an attribute, or u8."""
    if node.attributes.get("block_size") or node.attributes.get("precision"):
        raise node.unsupported("scales by block, or a precision")
    number = node.integer("output_dtype", 0)
    try:
        dtype = node.type(2).dtype if node.has(2) else DType(number or DType.U8.value)
    except ValueError:
        raise node.unsupported(f"to ONNX element type {number}") from None
    if dtype not in _INTEGERS[:-1]:
        raise node.unsupported(f"to {dtype}")
    return dtype


def _axis(node: OnnxNode) -> int:
    rank, axis = node.type().rank, node.integer("axis", 1)
    if not -rank <= axis < rank:
        raise ModelError(f"axis {axis} of {node.type()}", where=node.name)
    return int(axis % rank)


def _check(op: Operator, axis: int, x: TensorType, scale: TensorType, zero: TensorType | None, kind: DType) -> None:
    if scale.dtype is not DType.F32 or scale.shape != x.shape[axis : axis + 1]:
        raise ModelError(f"scale {scale} does not fit axis {axis} of {x}", where=op.name)
    if zero is not None and (zero.dtype is not kind or zero.shape != scale.shape):
        raise ModelError(f"zero point {zero} does not fit {x} and scale {scale}", where=op.name)


def _along(axis: int, rank: int, array: np.ndarray) -> np.ndarray:
    """An array by index of the axis, with the other axes of extent 1."""
    return array.reshape([-1 if a == axis else 1 for a in range(rank)])


@operator
@dataclass(frozen=True)
class QuantizeLinearByAxis(Operator):
    """x / scale, rounded to nearest even, plus zero point, saturated; NaN gives the smallest number.

    Inputs are x (f32), the scale and, where there is one, the zero point.

    Source: https://onnx.ai/onnx/operators/onnx__QuantizeLinear.html.
    """

    name: ClassVar[str] = "QuantizeLinearByAxis"
    layout: ClassVar[Layout] = "like_input"
    axis: int
    dtype: DType = DType.U8

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> tuple[Operator, tuple[str, ...]]:
        return cls(_axis(node), quantized_type(node)), node.inputs

    def to_onnx(self) -> tuple[str, dict[str, object], tuple[np.ndarray | None, ...]]:
        return "QuantizeLinear", {"axis": self.axis, "output_dtype": self.dtype.value}, ()

    def infer(self, inputs: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        x, scale, zero = (*inputs, None)[:3]
        assert x is not None and scale is not None
        if x.dtype is not DType.F32:
            raise UnsupportedOp(f"QuantizeLinear of {x}")
        _check(self, self.axis, x, scale, zero, self.dtype)
        return (TensorType(x.shape, self.dtype),)

    def reference(self, *inputs: np.ndarray | None) -> tuple[np.ndarray, ...]:
        x, scale, zero = (*inputs, None)[:3]
        assert x is not None and scale is not None
        low, high = self.dtype.limits
        with np.errstate(all="ignore"):
            steps = np.rint(x / _along(self.axis, x.ndim, scale))
        if zero is not None:
            steps = steps + _along(self.axis, x.ndim, zero).astype(np.float32)
        steps = np.where(steps > low, steps, low)
        return (np.where(steps < high, steps, high).astype(self.dtype.numpy),)

    def portable(self, w: Writer, inputs: Sequence[Array | None], outputs: Sequence[Array]) -> None:
        x, scale, zero = (*inputs, None)[:3]
        (y,) = outputs
        assert x is not None and scale is not None
        index = [f"i{a}" for a in range(y.view.rank)]
        low, high = self.dtype.limits
        offset = f" + (float){zero.at(index[self.axis])}" if zero else ""
        with w.block("if (begin < end)"), w.nest([(index[a], y.view.shape[a]) for a in y.view.order()]):
            w.line(f"const float v = rintf({x.at(*index)} / {scale.at(index[self.axis])}){offset};")
            w.line(f"const float low = v > {low}.0f ? v : {low}.0f;")
            w.line(f"{y.at(*index)} = ({self.dtype.c})(low < {high}.0f ? low : {high}.0f);")

    @classmethod
    def cases(cls) -> Iterator[Case]:
        scale = np.array([0.5, 0.03, 1e-3], np.float32)
        yield Case(cls(1), (TensorType((2, 3, 4), DType.F32), scale, np.array([128, 0, 255], np.uint8)), "by channel")
        values = np.array([[0.25, -1e9, 1e9], [0.75, 0.015, np.inf]], np.float32)
        yield Case(cls(1, DType.I8), (values, scale), "extremes")


@operator
@dataclass(frozen=True)
class DequantizeLinearByAxis(Operator):
    """(x - zero point) * scale.

    Inputs are x, the scale (f32) and, where there is one, the zero point (of x's type, 0 for i32).

    Source: https://onnx.ai/onnx/operators/onnx__DequantizeLinear.html.
    """

    name: ClassVar[str] = "DequantizeLinearByAxis"
    layout: ClassVar[Layout] = "like_input"
    axis: int

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> tuple[Operator, tuple[str, ...]]:
        if node.attributes.get("output_dtype"):
            raise node.unsupported("an output of another type than f32")
        return cls(_axis(node)), node.inputs

    def to_onnx(self) -> tuple[str, dict[str, object], tuple[np.ndarray | None, ...]]:
        return "DequantizeLinear", {"axis": self.axis}, ()

    def infer(self, inputs: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        x, scale, zero = (*inputs, None)[:3]
        assert x is not None and scale is not None
        if x.dtype not in _INTEGERS or scale.dtype is not DType.F32:
            raise UnsupportedOp(f"DequantizeLinear of {x} by {scale}")
        _check(self, self.axis, x, scale, zero, x.dtype)
        return (TensorType(x.shape, DType.F32),)

    def reference(self, *inputs: np.ndarray | None) -> tuple[np.ndarray, ...]:
        x, scale, zero = (*inputs, None)[:3]
        assert x is not None and scale is not None
        offset = 0 if zero is None else _along(self.axis, x.ndim, zero).astype(np.int64)
        return ((x.astype(np.int64) - offset).astype(np.float32) * _along(self.axis, x.ndim, scale),)

    def portable(self, w: Writer, inputs: Sequence[Array | None], outputs: Sequence[Array]) -> None:
        x, scale, zero = (*inputs, None)[:3]
        (y,) = outputs
        assert x is not None and scale is not None
        index = [f"i{a}" for a in range(y.view.rank)]
        value = x.at(*index)
        if zero is not None:
            value = f"((int64_t){value} - {zero.at(index[self.axis])})"
        with w.block("if (begin < end)"), w.nest([(index[a], y.view.shape[a]) for a in y.view.order()]):
            w.line(f"{y.at(*index)} = (float){value} * {scale.at(index[self.axis])};")

    @classmethod
    def cases(cls) -> Iterator[Case]:
        def scales(*shape: int) -> np.ndarray:
            return np.random.default_rng(9).uniform(0.01, 1, shape).astype(np.float32)

        channels = (TensorType((2, 3, 4), DType.I8), scales(3), np.array([-3, 0, 100], np.int8))
        yield Case(cls(1), channels, "by channel")
        yield Case(cls(0), (TensorType((3, 5), DType.I32), scales(3)), "i32")
