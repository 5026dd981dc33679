"""Tile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from edgesmith.errors import ModelError
from edgesmith.ir import DType, TensorType, View
from edgesmith.ops.base import Case, OnnxNode, Operator, f32, operator
from edgesmith.ops.movement import Copy, Movement


@operator
@dataclass(frozen=True)
class Tile(Movement):
    """Input repeated ``repeats`` times along each axis (https://onnx.ai/onnx/operators/onnx__Tile.html)."""

    name: ClassVar[str] = "Tile"
    repeats: tuple[int, ...]

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> tuple[Operator, tuple[str, ...]]:
        return cls(node.ints(1, "repeats") or ()), node.inputs[:1]

    def to_onnx(self) -> tuple[str, dict[str, object], tuple[np.ndarray | None, ...]]:
        return self.name, {}, (np.array(self.repeats, np.int64),)

    def infer(self, inputs: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        (x,) = inputs
        assert x is not None
        if len(self.repeats) != x.rank or min(self.repeats, default=0) < 0:
            raise ModelError(f"repeats {self.repeats} do not fit {x}", where=self.name)
        return (TensorType(tuple(n * r for n, r in zip(x.shape, self.repeats, strict=True)), x.dtype),)

    def reference(self, *inputs: np.ndarray | None) -> tuple[np.ndarray, ...]:
        (x,) = inputs
        assert x is not None
        return (np.tile(x, self.repeats),)

    def views(self, input: View) -> tuple[View | None, ...]:
        if all(r == 1 or n == 1 for n, r in zip(input.shape, self.repeats, strict=True)):
            return (input.broadcast([n * r for n, r in zip(input.shape, self.repeats, strict=True)]),)
        return (None,)

    def copies(self, inputs: Sequence[View], outputs: Sequence[View]) -> Sequence[Copy] | None:
        (x,), (y,) = inputs, outputs
        # Each output axis is (repeat, element) of the input's axis.
        shape = tuple(v for n, r in zip(x.shape, self.repeats, strict=True) for v in (r, n))
        source = replace(x, shape=shape, strides=tuple(v for s in x.strides for v in (0, s)))
        axes = zip(x.shape, y.strides, strict=True)
        return [Copy(0, source, 0, replace(y, shape=shape, strides=tuple(v for n, s in axes for v in (n * s, s))))]

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield Case(cls((1, 2, 3)), (f32(2, 3, 4),), "inner axes")
        yield Case(cls((3, 1)), (TensorType((1, 5), DType.U8),), "broadcast")
