"""DequantizeLinear."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgesmith.c.writer import Writer
from edgesmith.errors import ModelError, UnsupportedOp
from edgesmith.ir import DType, TensorType
from edgesmith.ops.base import Array, Case, Layout, OnnxNode, Operator, operator

_INTEGERS = (DType.I8, DType.U8, DType.I16, DType.U16, DType.I32)


@operator
@dataclass(frozen=True)
class DequantizeLinear(Operator):
    """(x - zero_point) * scale, one scale for all or one for each index of an axis.

    Inputs are x, the scale (f32) and, where there is one, the zero point (of x's type, 0 for i32).

    Source: https://onnx.ai/onnx/operators/onnx__DequantizeLinear.html.
    """

    name: ClassVar[str] = "DequantizeLinear"
    layout: ClassVar[Layout] = "like_input"
    axis: int = 0

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> tuple[Operator, tuple[str, ...]]:
        if node.attributes.get("block_size") or node.attributes.get("output_dtype"):
            raise node.unsupported("scales by block, or another type than f32")
        rank, axis = node.type().rank, int(node.attributes.get("axis", 1))  # type: ignore[call-overload]
        per_axis = node.type(1).size > 1
        if per_axis and not -rank <= axis < rank:
            raise ModelError(f"axis {axis} of {node.type()}", where=node.name)
        return cls(axis % rank if per_axis else 0), node.inputs

    def infer(self, inputs: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        x, scale, zero = (*inputs, None)[:3]
        assert x is not None and scale is not None
        if x.dtype not in _INTEGERS or scale.dtype is not DType.F32:
            raise UnsupportedOp(f"DequantizeLinear of {x} by {scale}")
        if scale.size > 1 and scale.shape != x.shape[self.axis : self.axis + 1]:
            raise ModelError(f"scale {scale} does not fit axis {self.axis} of {x}", where=self.name)
        if zero is not None and (zero.dtype is not x.dtype or zero.size != scale.size):
            raise ModelError(f"zero point {zero} does not fit {x} and scale {scale}", where=self.name)
        return (TensorType(x.shape, DType.F32),)

    def reference(self, *inputs: np.ndarray | None) -> tuple[np.ndarray, ...]:
        x, scale, zero = (*inputs, None)[:3]
        assert x is not None and scale is not None
        along = [1] * x.ndim
        if scale.size > 1:
            along[self.axis] = scale.size
        offset = 0 if zero is None else zero.astype(np.int64).reshape(along)
        return ((x.astype(np.int64) - offset).astype(np.float32) * scale.reshape(along),)

    def portable(self, w: Writer, inputs: Sequence[Array | None], outputs: Sequence[Array]) -> None:
        x, scale, zero = (*inputs, None)[:3]
        (y,) = outputs
        assert x is not None and scale is not None
        index = [f"i{a}" for a in range(y.view.rank)]
        per_axis = scale.view.size > 1
        # A single scale may have any rank; its one element is the first.
        factor = scale.at(index[self.axis]) if per_axis else f"{scale.pointer}[0]"
        value = x.at(*index)
        if zero is not None:
            value = f"((int64_t){value} - {zero.at(index[self.axis]) if per_axis else f'{zero.pointer}[0]'})"
        with w.block("if (begin < end)"), w.nest([(index[a], y.view.shape[a]) for a in y.view.order()]):
            w.line(f"{y.at(*index)} = (float){value} * {factor};")

    @classmethod
    def cases(cls) -> Iterator[Case]:
        def scales(*shape: int) -> np.ndarray:
            return np.random.default_rng(9).uniform(0.01, 1, shape).astype(np.float32)

        yield Case(cls(), (TensorType((2, 3, 4, 5), DType.I8), scales()), "one scale")
        yield Case(cls(), (TensorType((7,), DType.U8), scales(1), np.array([128], np.uint8)), "one zero point")
        channels = (TensorType((2, 3, 4), DType.I8), scales(3), np.array([-3, 0, 100], np.int8))
        yield Case(cls(1), channels, "by channel")
        yield Case(cls(), (TensorType((6,), DType.I32), scales()), "i32")
