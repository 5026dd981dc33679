"""Operators without run-time inputs: ConstantOfShape, and Size, which is one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from edgesmith.c.writer import Writer
from edgesmith.errors import ModelError
from edgesmith.ir import Cost, DType, TensorType
from edgesmith.ops.base import OPS, Array, Case, OnnxNode, Operator, operator
from edgesmith.ops.fill import stored_literal


@operator
@dataclass(frozen=True)
class ConstantOfShape(Operator):
    """One value repeated to a shape (https://onnx.ai/onnx/operators/onnx__ConstantOfShape.html)."""

    name: ClassVar[str] = "ConstantOfShape"
    shape: tuple[int, ...]
    value: np.generic = field(default_factory=lambda: np.float32(0))

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> tuple[Operator, tuple[str, ...]]:
        value = node.attributes.get("value")
        shape = node.ints(0, "shape") or ()
        return (cls(shape) if value is None else cls(shape, np.asarray(value).reshape(-1)[0])), ()

    def to_onnx(self) -> tuple[str, dict[str, object], tuple[np.ndarray | None, ...]]:
        return self.name, {"value": np.asarray(self.value).reshape(1)}, (np.array(self.shape, np.int64),)

    def infer(self, inputs: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        if min(self.shape, default=0) < 0:
            raise ModelError(f"shape {self.shape}", where=self.name)
        return (TensorType(self.shape, DType.of(self.value.dtype)),)

    def reference(self, *inputs: np.ndarray | None) -> tuple[np.ndarray, ...]:
        return (np.full(self.shape, self.value),)

    def cost(self, inputs: Sequence[TensorType | None], outputs: Sequence[TensorType]) -> Cost:
        return Cost()

    def portable(self, w: Writer, inputs: Sequence[Array | None], outputs: Sequence[Array]) -> None:
        (y,) = outputs
        index = [f"i{a}" for a in range(y.view.rank)]
        with w.block("if (begin < end)"), w.nest([(index[a], y.view.shape[a]) for a in y.view.order()]):
            w.line(f"{y.at(*index)} = {stored_literal(self.value, y.view.dtype)};")

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield Case(cls((2, 3)), (), "zeros")
        yield Case(cls((4,), np.int64(-7)), (), "i64")
        yield Case(cls((3,), np.float16(0.5)), (), "f16")


@OPS.register("Size")
class Size(ConstantOfShape):
    """Number of elements of a static shape (https://onnx.ai/onnx/operators/onnx__Size.html)."""

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> tuple[Operator, tuple[str, ...]]:
        return ConstantOfShape((), np.int64(node.type().size)), ()

    @classmethod
    def cases(cls) -> Iterator[Case]:
        return iter(())
