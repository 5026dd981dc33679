"""Expand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgesmith.errors import ModelError
from edgesmith.ir import DType, TensorType, View
from edgesmith.ops.base import Case, OnnxNode, Operator, broadcast_shape, f32, operator
from edgesmith.ops.movement import Movement


@operator
@dataclass(frozen=True)
class Expand(Movement):
    """Input repeated to ``shape`` by numpy's broadcasting (https://onnx.ai/onnx/operators/onnx__Expand.html)."""

    name: ClassVar[str] = "Expand"
    shape: tuple[int, ...]

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> tuple[Operator, tuple[str, ...]]:
        wanted = node.ints(1, "shape")
        if wanted is None or min(wanted, default=0) < 0:
            raise ModelError(f"Expand to {wanted}", where=node.name)
        return cls(broadcast_shape(node.name, node.type().shape, wanted)), node.inputs[:1]

    def to_onnx(self) -> tuple[str, dict[str, object], tuple[np.ndarray | None, ...]]:
        return self.name, {}, (np.array(self.shape, np.int64),)

    def infer(self, inputs: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        (x,) = inputs
        assert x is not None
        if broadcast_shape(self.name, x.shape, self.shape) != self.shape:
            raise ModelError(f"{x} does not broadcast to {self.shape}", where=self.name)
        return (TensorType(self.shape, x.dtype),)

    def reference(self, *inputs: np.ndarray | None) -> tuple[np.ndarray, ...]:
        (x,) = inputs
        assert x is not None
        return (np.broadcast_to(x, self.shape).copy(),)

    def views(self, input: View) -> tuple[View | None, ...]:
        return (input.broadcast(self.shape),)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield Case(cls((2, 3, 4)), (f32(3, 1),), "outer and inner")
        yield Case(cls((2, 5)), (TensorType((1, 5), DType.BOOL),), "bool")
