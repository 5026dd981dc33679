"""Concat."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgesmith.errors import ModelError
from edgesmith.ir import TensorType, View
from edgesmith.ops.base import Case, Layout, OnnxNode, Operator, f32, operator
from edgesmith.ops.movement import Copy, Movement


@operator
@dataclass(frozen=True)
class Concat(Movement):
    """Inputs joined along one axis (https://onnx.ai/onnx/operators/onnx__Concat.html).

    The planner lets the producers write straight into their part of the output where it can.
    """

    name: ClassVar[str] = "Concat"
    layout: ClassVar[Layout] = "like_input"
    axis: int

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> tuple[Operator, tuple[str, ...]]:
        axis = node.integer("axis")
        return cls(axis % node.type().rank), node.inputs

    def infer(self, inputs: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        given = [t for t in inputs if t is not None]
        first = given[0]
        rests = {(*t.shape[: self.axis], *t.shape[self.axis + 1 :]) for t in given}
        if len(rests) != 1 or {t.dtype for t in given} != {first.dtype}:
            raise ModelError(f"cannot join {', '.join(map(str, given))} along axis {self.axis}", where=self.name)
        total = sum(t.shape[self.axis] for t in given)
        return (TensorType((*first.shape[: self.axis], total, *first.shape[self.axis + 1 :]), first.dtype),)

    def reference(self, *inputs: np.ndarray | None) -> tuple[np.ndarray, ...]:
        return (np.concatenate([a for a in inputs if a is not None], self.axis),)

    def parts(self, output: View, inputs: Sequence[TensorType]) -> list[View]:
        """The part of the output's buffer that each input fills."""
        parts, start = [], 0
        for t in inputs:
            starts = [0] * output.rank
            starts[self.axis] = start
            parts.append(output.slice(starts, t.shape))
            start += t.shape[self.axis]
        return parts

    def copies(self, inputs: Sequence[View], outputs: Sequence[View]) -> Sequence[Copy] | None:
        parts = self.parts(outputs[0], [v.type for v in inputs])
        return [Copy(i, v, 0, part) for i, (v, part) in enumerate(zip(inputs, parts, strict=True))]

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield Case(cls(1), (f32(1, 3, 4, 5), f32(1, 6, 4, 5), f32(1, 1, 4, 5)))
        yield Case(cls(0), (f32(2, 3), f32(1, 3)), "outer")
