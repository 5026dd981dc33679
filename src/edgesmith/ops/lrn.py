"""LRN: local response normalisation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgesmith.c.expr import literal
from edgesmith.c.writer import Writer
from edgesmith.errors import UnsupportedOp
from edgesmith.ir import Cost, DType, TensorType
from edgesmith.ops.base import Array, Case, Layout, Operator, f32, operator


@operator
@dataclass(frozen=True)
class LRN(Operator):
    """x / (bias + alpha / size * s)**beta, s the sum of squares over ``size`` neighbouring channels.

    Source: https://onnx.ai/onnx/operators/onnx__LRN.html.
    """

    name: ClassVar[str] = "LRN"
    layout: ClassVar[Layout] = "channels_last"
    size: int
    alpha: float = 1e-4
    beta: float = 0.75
    bias: float = 1.0

    def infer(self, inputs: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        (x,) = inputs
        assert x is not None
        if x.dtype is not DType.F32:
            raise UnsupportedOp(f"LRN on {x.dtype} is not implemented", hint="convert the model to f32")
        return (x,)

    @property
    def _reach(self) -> tuple[int, int]:
        """Number of channels before and after that count."""
        return (self.size - 1) // 2, self.size // 2

    def reference(self, *inputs: np.ndarray | None) -> tuple[np.ndarray, ...]:
        (x,) = inputs
        assert x is not None
        before, after = self._reach
        squares = x.astype(np.float64) ** 2
        total = np.stack([squares[:, max(0, c - before) : c + after + 1].sum(1) for c in range(x.shape[1])], axis=1)
        return ((x / (self.bias + self.alpha / self.size * total) ** self.beta).astype(x.dtype),)

    def cost(self, inputs: Sequence[TensorType | None], outputs: Sequence[TensorType]) -> Cost:
        """A square and an addition for each neighbour, and the power as one."""
        return Cost(flops=(2 * self.size + 3) * outputs[0].size)

    def reduction_length(self, inputs: Sequence[TensorType | None]) -> int:
        return self.size

    def tasks(self, inputs: Sequence[TensorType | None], outputs: Sequence[TensorType]) -> int:
        return outputs[0].shape[0] * outputs[0].shape[1]

    def c_functions(self, inputs: Sequence[TensorType | None]) -> tuple[str, ...]:
        return ("pow",)

    def portable(self, w: Writer, inputs: Sequence[Array | None], outputs: Sequence[Array]) -> None:
        (x,), (y,) = inputs, outputs
        assert x is not None
        channels, (before, after) = x.view.shape[1], self._reach
        index = [f"i{a}" for a in range(x.view.rank)]
        factor, bias = literal(self.alpha / self.size, DType.F32), literal(self.bias, DType.F32)
        with w.block("for (int32_t task = begin; task < end; ++task)"):
            w.unravel("task", list(zip(index[:2], x.view.shape[:2], strict=True)))
            w.line(f"const int32_t first = i1 < {before} ? 0 : i1 - {before};")
            w.line(f"const int32_t last = i1 + {after} < {channels} ? i1 + {after} : {channels - 1};")
            with w.nest([(index[a], x.view.shape[a]) for a in x.view.order() if a > 1]):
                w.line("float sum = 0.0f;")
                with w.block("for (int32_t c = first; c <= last; ++c)"):
                    neighbour = x.at(index[0], "c", *index[2:])
                    w.line(f"sum += {neighbour} * {neighbour};")
                power = f"es_pow_f32({bias} + {factor} * sum, {literal(-self.beta, DType.F32)})"
                w.line(f"{y.at(*index)} = {x.at(*index)} * {power};")

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield Case(cls(3), (f32(2, 7, 3, 4),))
        yield Case(cls(5, 0.5, 0.4, 2.0), (f32(1, 7, 6, 2),), "other powers")
        yield Case(cls(9), (f32(1, 4, 3, 1),), "wider than the channels")
