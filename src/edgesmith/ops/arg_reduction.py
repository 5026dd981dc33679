"""ArgMax and ArgMin."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgesmith.c.writer import Writer
from edgesmith.ir import Cost, DType, TensorType
from edgesmith.ops.base import Array, Case, OnnxNode, Operator, operator
from edgesmith.ops.elementwise import require_types
from edgesmith.ops.reduction import normalized_axes


@dataclass(frozen=True)
class ArgReduction(Operator):
    """Index of the extreme element along an axis, the first or the last of equal ones; open where there are NaNs."""

    better: ClassVar[str]
    axis: int = 0
    keepdims: int = 1
    select_last_index: int = 0

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> tuple[Operator, tuple[str, ...]]:
        op, inputs = super().from_onnx(node)
        assert isinstance(op, ArgReduction)
        (axis,) = normalized_axes([op.axis], node.type().rank, node.name)
        return cls(axis, op.keepdims, op.select_last_index), inputs

    def infer(self, inputs: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        (x,) = inputs
        assert x is not None
        require_types(self.name, [x.dtype])
        middle = (1,) if self.keepdims else ()
        return (TensorType((*x.shape[: self.axis], *middle, *x.shape[self.axis + 1 :]), DType.I64),)

    def index(self, x: np.ndarray, axis: int) -> np.ndarray:
        raise NotImplementedError

    def reference(self, *inputs: np.ndarray | None) -> tuple[np.ndarray, ...]:
        (x,) = inputs
        assert x is not None
        y = self.index(np.flip(x, self.axis) if self.select_last_index else x, self.axis)
        if self.select_last_index:
            y = x.shape[self.axis] - 1 - y
        return (np.expand_dims(y, self.axis) if self.keepdims else y,)

    def cost(self, inputs: Sequence[TensorType | None], outputs: Sequence[TensorType]) -> Cost:
        assert inputs[0] is not None
        return Cost(flops=inputs[0].size)

    def tasks(self, inputs: Sequence[TensorType | None], outputs: Sequence[TensorType]) -> int:
        return outputs[0].size

    def portable(self, w: Writer, inputs: Sequence[Array | None], outputs: Sequence[Array]) -> None:
        (x,), (y,) = inputs, outputs
        assert x is not None
        shape = x.view.shape
        kept = [a for a in range(x.view.rank) if a != self.axis]

        def at(i: str) -> list[str]:
            return [i if a == self.axis else f"i{a}" for a in range(x.view.rank)]

        with w.block("for (int32_t task = begin; task < end; ++task)"):
            w.unravel("task", [(f"i{a}", shape[a]) for a in kept])
            w.line("int32_t best = 0;")
            with w.loop("i", shape[self.axis]):
                better = f"{self.better}=" if self.select_last_index else self.better
                w.line(f"best = {x.at(*at('i'))} {better} {x.at(*at('best'))} ? i : best;")
            w.line(f"{y.at(*(at('0') if self.keepdims else (f'i{a}' for a in kept)))} = best;")

    @classmethod
    def cases(cls) -> Iterator[Case]:
        for dtype in (DType.F32, DType.F64, DType.I32, DType.U8, DType.I8):
            for last in (0, 1):
                yield Case(cls(1, 1, last), (TensorType((2, 9, 3), dtype),), f"{dtype} {'last' if last else 'first'}")
        yield Case(cls(0, 0), (TensorType((5,), DType.F32),), "vector")
        yield Case(cls(2, 0), (TensorType((2, 1, 4), DType.I32),), "inner")


@operator
@dataclass(frozen=True)
class ArgMax(ArgReduction):
    """Index of the largest element (https://onnx.ai/onnx/operators/onnx__ArgMax.html)."""

    name: ClassVar[str] = "ArgMax"
    better: ClassVar[str] = ">"

    def index(self, x: np.ndarray, axis: int) -> np.ndarray:
        return np.asarray(np.argmax(x, axis))


@operator
@dataclass(frozen=True)
class ArgMin(ArgReduction):
    """Index of the smallest element (https://onnx.ai/onnx/operators/onnx__ArgMin.html)."""

    name: ClassVar[str] = "ArgMin"
    better: ClassVar[str] = "<"

    def index(self, x: np.ndarray, axis: int) -> np.ndarray:
        return np.asarray(np.argmin(x, axis))
