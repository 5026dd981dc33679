"""Shape."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgesmith.c.expr import literal
from edgesmith.c.writer import Writer
from edgesmith.ir import Cost, DType, TensorType
from edgesmith.ops.base import Array, Case, OnnxNode, Operator, operator


@operator
@dataclass(frozen=True)
class Shape(Operator):
    """The extents of a value of static shape (https://onnx.ai/onnx/operators/onnx__Shape.html).

    Args:
        extents: those between the attributes start and end.
    """

    name: ClassVar[str] = "Shape"
    extents: tuple[int, ...]

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> tuple[Operator, tuple[str, ...]]:
        start, end = node.attributes.get("start"), node.attributes.get("end")
        return cls(node.type().shape[slice(start, end)]), ()  # type: ignore[arg-type]

    def to_onnx(self) -> tuple[str, dict[str, object], tuple[np.ndarray | None, ...]]:
        return self.name, {}, (np.zeros(self.extents, np.bool_),)

    def infer(self, inputs: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        return (TensorType((len(self.extents),), DType.I64),)

    def reference(self, *inputs: np.ndarray | None) -> tuple[np.ndarray, ...]:
        return (np.array(self.extents, np.int64),)

    def cost(self, inputs: Sequence[TensorType | None], outputs: Sequence[TensorType]) -> Cost:
        return Cost()

    def portable(self, w: Writer, inputs: Sequence[Array | None], outputs: Sequence[Array]) -> None:
        (y,) = outputs
        with w.block("if (begin < end)"):
            for i, n in enumerate(self.extents):
                w.line(f"{y.at(i)} = {literal(n, DType.I64)};")
            if not self.extents:
                w.line(f"(void){y.pointer};")

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield Case(cls((2, 3, 5)), ())
