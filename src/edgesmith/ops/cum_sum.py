"""CumSum."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgesmith.c.expr import emit, var
from edgesmith.c.writer import Writer
from edgesmith.ir import DType, TensorType
from edgesmith.ops.base import Array, Case, OnnxNode, Operator, operator
from edgesmith.ops.elementwise import require_types
from edgesmith.ops.reduction import normalized_axes


@operator
@dataclass(frozen=True)
class CumSum(Operator):
    """Sums of the elements up to each one along an axis (https://onnx.ai/onnx/operators/onnx__CumSum.html).

    Args:
        exclusive: the element itself does not count.
        reverse: sums of the elements from each one on.
    """

    name: ClassVar[str] = "CumSum"
    axis: int
    exclusive: int = 0
    reverse: int = 0

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> tuple[Operator, tuple[str, ...]]:
        (axis,) = normalized_axes(node.ints(1, "axis") or (), node.type().rank, node.name)
        exclusive, reverse = (node.integer(k, 0) for k in ("exclusive", "reverse"))
        return cls(axis, exclusive, reverse), node.inputs[:1]

    def to_onnx(self) -> tuple[str, dict[str, object], tuple[np.ndarray | None, ...]]:
        return self.name, {"exclusive": self.exclusive, "reverse": self.reverse}, (np.array(self.axis, np.int64),)

    def infer(self, inputs: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        (x,) = inputs
        assert x is not None
        require_types(self.name, [x.dtype])
        return (x,)

    def reference(self, *inputs: np.ndarray | None) -> tuple[np.ndarray, ...]:
        (x,) = inputs
        assert x is not None
        line = np.flip(x, self.axis) if self.reverse else x
        y = np.cumsum(line, self.axis, dtype=x.dtype)
        if self.exclusive:
            first, rest = np.split(np.roll(y, 1, self.axis), [1], self.axis)
            y = np.concatenate([np.zeros_like(first), rest], self.axis)
        return (np.flip(y, self.axis).copy() if self.reverse else y,)

    def reduction_length(self, inputs: Sequence[TensorType | None]) -> int:
        assert inputs[0] is not None
        return max(1, inputs[0].shape[self.axis])

    def tasks(self, inputs: Sequence[TensorType | None], outputs: Sequence[TensorType]) -> int:
        return outputs[0].size // max(1, outputs[0].shape[self.axis])

    def portable(self, w: Writer, inputs: Sequence[Array | None], outputs: Sequence[Array]) -> None:
        (x,), (y,) = inputs, outputs
        assert x is not None
        dtype, n = x.view.dtype, x.view.shape[self.axis]
        index = [f"i{a}" for a in range(x.view.rank)]
        with w.block("for (int32_t task = begin; task < end; ++task)"):
            w.unravel("task", [(index[a], x.view.shape[a]) for a in range(x.view.rank) if a != self.axis])
            w.line(f"{dtype.c} sum = 0;")
            with w.loop("k", n):
                index[self.axis] = f"{n - 1} - k" if self.reverse else "k"
                added = emit(var("sum", dtype) + var("x", dtype), {"sum": "sum", "x": x.at(*index)}, w)
                if self.exclusive:
                    w.line(f"const {dtype.c} next = {added};")
                    w.line(f"{y.at(*index)} = sum;")
                    w.line("sum = next;")
                else:
                    w.line(f"sum = {added};")
                    w.line(f"{y.at(*index)} = sum;")

    @classmethod
    def cases(cls) -> Iterator[Case]:
        for dtype in (DType.F32, DType.F64, DType.I32, DType.I64):
            yield Case(cls(1), (TensorType((2, 7, 3), dtype),), str(dtype))
        yield Case(cls(0, 1), (TensorType((5,), DType.I32),), "exclusive")
        yield Case(cls(1, 0, 1), (TensorType((2, 5), DType.I32),), "reverse")
        yield Case(cls(0, 1, 1), (TensorType((5, 2), DType.I32),), "exclusive reverse")
