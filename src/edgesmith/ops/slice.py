"""Slice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgesmith.errors import ModelError
from edgesmith.ir import DType, TensorType, View
from edgesmith.ops.base import Case, Layout, OnnxNode, Operator, f32, operator
from edgesmith.ops.movement import Movement

_BEFORE_FIRST = np.iinfo(np.int64).min
_TO_THE_END = (np.iinfo(np.int32).max, np.iinfo(np.int64).max)
"""Ends that ONNX Runtime takes as the far end in the direction of the step, even backwards."""


@operator
@dataclass(frozen=True)
class Slice(Movement):
    """Along each axis ``lengths`` elements from ``starts``, every ``steps``-th one; steps may be negative.

    Source: https://onnx.ai/onnx/operators/onnx__Slice.html.
    """

    name: ClassVar[str] = "Slice"
    layout: ClassVar[Layout] = "like_input"
    starts: tuple[int, ...]
    lengths: tuple[int, ...]
    steps: tuple[int, ...]

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> tuple[Operator, tuple[str, ...]]:
        shape = node.type().shape
        starts, ends = node.ints(1, "starts") or (), node.ints(2, "ends") or ()
        axes = node.ints(3, "axes")
        axes = tuple(range(len(starts))) if axes is None else axes
        steps = node.ints(4, "steps")
        steps = (1,) * len(starts) if steps is None else steps
        if not shape or not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
            raise ModelError(f"starts {starts}, ends {ends}, axes {axes}, steps {steps} do not fit", where=node.name)
        ranges = [range(n) for n in shape]
        for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
            if not -len(shape) <= axis < len(shape):
                raise ModelError(f"axis {axis} of {node.type()}", where=node.name)
            ranges[axis] = _range(start, end, step, shape[axis])
        taken = [(r.start, len(r), r.step) if len(r) > 1 else (r.start, len(r), 1) for r in ranges]
        return cls(*(tuple(column) for column in zip(*taken, strict=True))), node.inputs[:1]

    def _ends(self) -> list[int]:
        ends = [s + n * k for s, n, k in zip(self.starts, self.lengths, self.steps, strict=True)]
        return [_BEFORE_FIRST if end < 0 else end for end in ends]

    def to_onnx(self) -> tuple[str, dict[str, object], tuple[np.ndarray | None, ...]]:
        columns = (self.starts, self._ends(), range(len(self.starts)), self.steps)
        return self.name, {}, tuple(np.array(c, np.int64) for c in columns)

    def infer(self, inputs: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        (x,) = inputs
        assert x is not None
        if x.rank != len(self.starts) or any(
            n and not (0 <= s < extent and 0 <= s + (n - 1) * k < extent)
            for s, n, k, extent in zip(self.starts, self.lengths, self.steps, x.shape, strict=True)
        ):
            raise ModelError(f"{self} reaches outside {x}", where=self.name)
        return (TensorType(self.lengths, x.dtype),)

    def reference(self, *inputs: np.ndarray | None) -> tuple[np.ndarray, ...]:
        (x,) = inputs
        assert x is not None
        axes = zip(self.starts, self.lengths, self.steps, strict=True)
        return (x[np.ix_(*(s + k * np.arange(n) for s, n, k in axes))],)

    def views(self, input: View) -> tuple[View | None, ...]:
        return (input.slice(self.starts, self.lengths, self.steps),)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield Case(cls((0, 2, 1, 1), (1, 3, 4, 2), (1, 1, 1, 2)), (f32(1, 6, 5, 7),), "block")
        yield Case(cls((4, 0), (5, 3), (-1, 1)), (f32(5, 3),), "reversed")
        yield Case(cls((5, 1), (3, 2), (-2, 3)), (TensorType((6, 6), DType.I64),), "i64")
        yield Case(cls((1,), (4,), (2,)), (TensorType((9,), DType.F16),), "f16")


def _range(start: int, end: int, step: int, extent: int) -> range:
    """The indices of a slice of an axis; unlike Python's, a start before the axis counts as its first element."""
    start += extent if start < 0 else 0
    if step < 0:
        end = -1 if end in _TO_THE_END else end + extent if end < 0 else end
        return range(min(max(start, 0), extent - 1), min(max(end, -1), extent - 1), step)
    end += extent if end < 0 else 0
    return range(min(max(start, 0), extent), min(max(end, 0), extent), step)
