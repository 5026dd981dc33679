"""EyeLike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgesmith.c.writer import Writer
from edgesmith.errors import ModelError
from edgesmith.ir import Cost, DType, TensorType
from edgesmith.ops.base import Array, Case, OnnxNode, Operator, operator
from edgesmith.ops.fill import stored_literal


@operator
@dataclass(frozen=True)
class EyeLike(Operator):
    """Ones on the k-th diagonal above the main one, zeros elsewhere (https://onnx.ai/onnx/operators/onnx__EyeLike.html)."""

    name: ClassVar[str] = "EyeLike"
    shape: tuple[int, ...]
    dtype: DType
    k: int = 0

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> tuple[Operator, tuple[str, ...]]:
        x = node.type()
        try:
            dtype = DType(node.attributes.get("dtype", x.dtype.value))
        except ValueError:
            raise node.unsupported(f"element type {node.attributes['dtype']}") from None
        return cls(x.shape, dtype, node.integer("k", 0)), ()

    def to_onnx(self) -> tuple[str, dict[str, object], tuple[np.ndarray | None, ...]]:
        return self.name, {"dtype": self.dtype.value, "k": self.k}, (np.zeros(self.shape, np.float32),)

    def infer(self, inputs: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        if len(self.shape) != 2:
            raise ModelError(f"EyeLike of shape {self.shape}", where=self.name)
        return (TensorType(self.shape, self.dtype),)

    def reference(self, *inputs: np.ndarray | None) -> tuple[np.ndarray, ...]:
        return (np.eye(self.shape[0], self.shape[1], self.k, self.dtype.numpy),)

    def cost(self, inputs: Sequence[TensorType | None], outputs: Sequence[TensorType]) -> Cost:
        return Cost()

    def portable(self, w: Writer, inputs: Sequence[Array | None], outputs: Sequence[Array]) -> None:
        (y,) = outputs
        one = stored_literal(1, self.dtype)
        k = max(-self.shape[0], min(self.shape[1], self.k))
        with w.block("if (begin < end)"), w.nest([("i", self.shape[0]), ("j", self.shape[1])]):
            w.line(f"{y.at('i', 'j')} = j - i == {k} ? {one} : 0;")

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield Case(cls((3, 4), DType.F32), (), "f32")
        yield Case(cls((4, 3), DType.I64, -1), (), "below")
        yield Case(cls((2, 5), DType.F64, 2), (), "above")
