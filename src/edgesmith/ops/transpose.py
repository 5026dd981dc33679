"""Transpose."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgesmith.errors import ModelError
from edgesmith.ir import TensorType, View
from edgesmith.ops.base import Case, OnnxNode, Operator, f32, operator
from edgesmith.ops.movement import Movement


@operator
@dataclass(frozen=True)
class Transpose(Movement):
    """Axes permuted: output axis a is input axis perm[a] (https://onnx.ai/onnx/operators/onnx__Transpose.html)."""

    name: ClassVar[str] = "Transpose"
    perm: tuple[int, ...]

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> tuple[Operator, tuple[str, ...]]:
        rank = node.type().rank
        perm = node.integers("perm", range(rank - 1, -1, -1))
        if sorted(perm) != list(range(rank)):
            raise ModelError(f"perm {perm} does not permute {rank} axes", where=node.name)
        return cls(perm), node.inputs

    def infer(self, inputs: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        (x,) = inputs
        assert x is not None
        return (TensorType(tuple(x.shape[a] for a in self.perm), x.dtype),)

    def reference(self, *inputs: np.ndarray | None) -> tuple[np.ndarray, ...]:
        assert inputs[0] is not None
        return (inputs[0].transpose(self.perm).copy(),)

    def views(self, input: View) -> tuple[View | None, ...]:
        return (input.transpose(self.perm),)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield Case(cls((0, 2, 3, 1)), (f32(1, 3, 4, 5),), "nchw-to-nhwc")
        yield Case(cls((1, 0)), (f32(33, 17),), "matrix")
