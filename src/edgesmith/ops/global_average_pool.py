"""GlobalAveragePool."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgesmith.c.expr import literal
from edgesmith.c.writer import Writer
from edgesmith.ir import Cost, DType, TensorType
from edgesmith.ops.base import Array, Case, Layout, Operator, f32, operator


@operator
@dataclass(frozen=True)
class GlobalAveragePool(Operator):
    """Mean over the spatial axes (https://onnx.ai/onnx/operators/onnx__GlobalAveragePool.html)."""

    name: ClassVar[str] = "GlobalAveragePool"
    layout: ClassVar[Layout] = "channels_last"

    def infer(self, inputs: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        (x,) = inputs
        assert x is not None
        return (TensorType((*x.shape[:2], *(1,) * (x.rank - 2)), x.dtype),)

    def reference(self, *inputs: np.ndarray | None) -> tuple[np.ndarray, ...]:
        (x,) = inputs
        assert x is not None
        return (x.mean(axis=tuple(range(2, x.ndim)), keepdims=True, dtype=np.float64).astype(x.dtype),)

    def cost(self, inputs: Sequence[TensorType | None], outputs: Sequence[TensorType]) -> Cost:
        assert inputs[0] is not None
        return Cost(flops=inputs[0].size)

    def reduction_length(self, inputs: Sequence[TensorType | None]) -> int:
        assert inputs[0] is not None
        return math.prod(inputs[0].shape[2:])

    def tasks(self, inputs: Sequence[TensorType | None], outputs: Sequence[TensorType]) -> int:
        return outputs[0].shape[0] * outputs[0].shape[1]

    def portable(self, w: Writer, inputs: Sequence[Array | None], outputs: Sequence[Array]) -> None:
        (x,), (y,) = inputs, outputs
        assert x is not None
        count = math.prod(x.view.shape[2:])
        index = [f"i{a}" for a in range(x.view.rank - 2)]
        with w.block("for (int32_t task = begin; task < end; ++task)"):
            w.unravel("task", [("n", x.view.shape[0]), ("c", x.view.shape[1])])
            w.line("float sum = 0.0f;")
            with w.nest(list(zip(index, x.view.shape[2:], strict=True))):
                w.line(f"sum += {x.at('n', 'c', *index)};")
            w.line(f"{y.at('n', 'c', *'0' * len(index))} = sum / {literal(count, DType.F32)};")

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield Case(cls(), (f32(2, 19, 7, 5),))
