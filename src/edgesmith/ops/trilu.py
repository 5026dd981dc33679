"""Trilu."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgesmith.c.writer import Writer
from edgesmith.errors import ModelError
from edgesmith.ir import Cost, DType, TensorType
from edgesmith.ops.base import Array, Case, OnnxNode, Operator, f32, operator


@operator
@dataclass(frozen=True)
class Trilu(Operator):
    """Upper or lower triangle of matrices, zeros elsewhere (https://onnx.ai/onnx/operators/onnx__Trilu.html).

    Args:
        k: the triangle is bounded by the k-th diagonal above the main one.
    """

    name: ClassVar[str] = "Trilu"
    upper: int = 1
    k: int = 0

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> tuple[Operator, tuple[str, ...]]:
        k = node.ints(1, "k")
        return cls(node.integer("upper", 1), k[0] if k else 0), node.inputs[:1]

    def to_onnx(self) -> tuple[str, dict[str, object], tuple[np.ndarray | None, ...]]:
        return self.name, {"upper": self.upper}, (np.array(self.k, np.int64),)

    def infer(self, inputs: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        (x,) = inputs
        assert x is not None
        if x.rank < 2:
            raise ModelError(f"Trilu of {x}", where=self.name)
        return (x,)

    def reference(self, *inputs: np.ndarray | None) -> tuple[np.ndarray, ...]:
        (x,) = inputs
        assert x is not None
        rows, columns = np.ogrid[: x.shape[-2], : x.shape[-1]]
        kept = columns - rows >= self.k if self.upper else columns - rows <= self.k
        return (np.where(kept, x, np.zeros((), x.dtype)),)

    def cost(self, inputs: Sequence[TensorType | None], outputs: Sequence[TensorType]) -> Cost:
        return Cost()

    def portable(self, w: Writer, inputs: Sequence[Array | None], outputs: Sequence[Array]) -> None:
        (x,), (y,) = inputs, outputs
        assert x is not None
        index = [f"i{a}" for a in range(y.view.rank)]
        # A diagonal beyond the matrix keeps or drops everything, as the outermost one does.
        k = max(-y.view.shape[-2], min(y.view.shape[-1], self.k))
        inside = f"{index[-1]} - {index[-2]} {'>=' if self.upper else '<='} {k}"
        with w.block("if (begin < end)"), w.nest([(index[a], y.view.shape[a]) for a in y.view.order()]):
            w.line(f"{y.at(*index)} = {inside} ? {x.at(*index)} : 0;")

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield Case(cls(), (f32(4, 5),), "upper")
        yield Case(cls(0, -1), (f32(2, 5, 4),), "lower")
        yield Case(cls(1, 2), (TensorType((3, 5), DType.I64),), "i64")
