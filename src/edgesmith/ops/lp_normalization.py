"""LpNormalization."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgesmith.c.expr import call, emit, var
from edgesmith.c.writer import Writer
from edgesmith.ir import Cost, TensorType
from edgesmith.ops.base import Array, Case, Layout, OnnxNode, Operator, f32, operator
from edgesmith.ops.elementwise import require_types
from edgesmith.ops.reduction import normalized_axes


@operator
@dataclass(frozen=True)
class LpNormalization(Operator):
    """x over its L1 or L2 norm along an axis; 0 where the norm is 0.

    Source: https://onnx.ai/onnx/operators/onnx__LpNormalization.html.
    """

    name: ClassVar[str] = "LpNormalization"
    layout: ClassVar[Layout] = "like_input"
    axis: int = -1
    p: int = 2

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> tuple[Operator, tuple[str, ...]]:
        axis, p = (int(node.attributes.get(k, default)) for k, default in (("axis", -1), ("p", 2)))  # type: ignore[call-overload]
        if p not in (1, 2):
            raise node.unsupported(f"p = {p}")
        (axis,) = normalized_axes([axis], node.type().rank, node.name)
        return cls(axis, p), node.inputs

    def infer(self, inputs: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        (x,) = inputs
        assert x is not None
        require_types(self.name, [x.dtype])
        return (x,)

    def reference(self, *inputs: np.ndarray | None) -> tuple[np.ndarray, ...]:
        (x,) = inputs
        assert x is not None
        norm = np.linalg.norm(x.astype(np.float64), self.p, self.axis, keepdims=True)
        return ((x / np.where(norm == 0, 1, norm)).astype(x.dtype),)

    def cost(self, inputs: Sequence[TensorType | None], outputs: Sequence[TensorType]) -> Cost:
        """Norm and division: about three operations an element."""
        return Cost(flops=3 * outputs[0].size)

    def reduction_length(self, inputs: Sequence[TensorType | None]) -> int:
        assert inputs[0] is not None
        return max(1, inputs[0].shape[self.axis])

    def tasks(self, inputs: Sequence[TensorType | None], outputs: Sequence[TensorType]) -> int:
        return outputs[0].size // max(1, outputs[0].shape[self.axis])

    def portable(self, w: Writer, inputs: Sequence[Array | None], outputs: Sequence[Array]) -> None:
        (x,), (y,) = inputs, outputs
        assert x is not None
        dtype, n = x.view.dtype, x.view.shape[self.axis]
        element, total = var("element", dtype), var("norm", dtype)
        term = call("abs", element) if self.p == 1 else element * element
        index = [f"i{a}" for a in range(x.view.rank)]
        index[self.axis] = "k"
        with w.block("for (int32_t task = begin; task < end; ++task)"):
            w.unravel("task", [(i, m) for i, m in zip(index, x.view.shape, strict=True) if i != "k"])
            w.line(f"{dtype.c} norm = 0;")
            with w.loop("k", n):
                w.line(f"norm += {emit(term, {'element': x.at(*index)}, w)};")
            if self.p == 2:
                w.line(f"norm = {emit(call('sqrt', total), {'norm': 'norm'}, w)};")
            with w.loop("k", n):
                w.line(f"{y.at(*index)} = {x.at(*index)} / (norm == 0 ? 1 : norm);")

    @classmethod
    def cases(cls) -> Iterator[Case]:
        zero = np.zeros((2, 3), np.float32)
        for p in (1, 2):
            yield Case(cls(1, p), (f32(4, 10),), f"L{p}")
            yield Case(cls(1, p), (f32(2, 5, 3, 3),), f"L{p} channels")
            yield Case(cls(1, p), (zero,), f"L{p} of 0")
