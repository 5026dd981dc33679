"""Split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import ClassVar

import numpy as np

from edgesmith.errors import ModelError
from edgesmith.ir import TensorType, View
from edgesmith.ops.base import Case, Layout, OnnxNode, Operator, f32, operator
from edgesmith.ops.movement import Movement


@operator
@dataclass(frozen=True)
class Split(Movement):
    """Consecutive parts of one axis, of given lengths (https://onnx.ai/onnx/operators/onnx__Split.html)."""

    name: ClassVar[str] = "Split"
    layout: ClassVar[Layout] = "like_input"
    axis: int
    lengths: tuple[int, ...]

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> tuple[Operator, tuple[str, ...]]:
        x = node.type()
        axis = node.integer("axis", 0)
        if not -x.rank <= axis < x.rank:
            raise ModelError(f"axis {axis} of {x}", where=node.name)
        axis %= x.rank
        lengths = node.ints(1, "split")
        if lengths is None:
            count = node.integer("num_outputs", len(node.outputs))
            if count < 1:
                raise ModelError(f"{count} outputs", where=node.name)
            n = x.shape[axis]
            each = -(-n // count)
            lengths = tuple(max(0, min(each, n - i * each)) for i in range(count))
        return cls(axis, lengths), node.inputs[:1]

    def to_onnx(self) -> tuple[str, dict[str, object], tuple[np.ndarray | None, ...]]:
        return self.name, {"axis": self.axis}, (np.array(self.lengths, np.int64),)

    def infer(self, inputs: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        (x,) = inputs
        assert x is not None
        if x.rank <= self.axis or sum(self.lengths) != x.shape[self.axis] or min(self.lengths, default=-1) < 0:
            raise ModelError(f"cannot split axis {self.axis} of {x} into {self.lengths}", where=self.name)
        rest = x.shape[: self.axis], x.shape[self.axis + 1 :]
        return tuple(TensorType((*rest[0], n, *rest[1]), x.dtype) for n in self.lengths)

    def reference(self, *inputs: np.ndarray | None) -> tuple[np.ndarray, ...]:
        (x,) = inputs
        assert x is not None
        return tuple(p.copy() for p in np.split(x, list(accumulate(self.lengths))[:-1], self.axis))

    def views(self, input: View) -> tuple[View | None, ...]:
        parts: list[View | None] = []
        for end, n in zip(accumulate(self.lengths), self.lengths, strict=True):
            starts, shape = [0] * input.rank, list(input.shape)
            starts[self.axis], shape[self.axis] = end - n, n
            parts.append(input.slice(starts, shape))
        return tuple(parts)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield Case(cls(1, (2, 3, 1)), (f32(1, 6, 4, 5),), "channels")
        yield Case(cls(0, (2, 2)), (f32(4, 3),), "rows")
