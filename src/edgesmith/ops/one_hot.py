"""OneHot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgesmith.c.writer import Writer
from edgesmith.errors import ModelError
from edgesmith.ir import Cost, DType, TensorType
from edgesmith.ops.base import Array, Case, OnnxNode, Operator, operator


@operator
@dataclass(frozen=True)
class OneHot(Operator):
    """A new axis that holds values[1] at the index and values[0] elsewhere; an index outside gives no values[1].

    Source: https://onnx.ai/onnx/operators/onnx__OneHot.html.

    Args:
        axis: position of the new axis in the output.
        depth: its extent; the constant input of the same name stays, so that the operator can be written back.
    """

    name: ClassVar[str] = "OneHot"
    axis: int
    depth: int

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> tuple[Operator, tuple[str, ...]]:
        depth, rank = node.ints(1, "depth"), node.type().rank + 1
        axis = node.integer("axis", -1)
        if not depth or not -rank <= axis < rank:
            raise ModelError(f"axis {axis} with depth {depth}", where=node.name)
        return cls(axis % rank, depth[0]), node.inputs

    def to_onnx(self) -> tuple[str, dict[str, object], tuple[np.ndarray | None, ...]]:
        return self.name, {"axis": self.axis}, ()

    def infer(self, inputs: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        indices, _, values = inputs
        assert indices is not None and values is not None
        half = indices.dtype in (DType.F16, DType.BF16)
        if values.shape != (2,) or self.axis > indices.rank or self.depth < 1 or half:
            raise ModelError(f"{self} of {indices} with {values}", where=self.name)
        return (TensorType((*indices.shape[: self.axis], self.depth, *indices.shape[self.axis :]), values.dtype),)

    def reference(self, *inputs: np.ndarray | None) -> tuple[np.ndarray, ...]:
        indices, _, values = inputs
        assert indices is not None and values is not None
        given = indices.astype(np.int64)
        places = np.where(given < 0, given + self.depth, given)
        hot = np.expand_dims(places, self.axis) == np.arange(self.depth).reshape(-1, *(1,) * (given.ndim - self.axis))
        return (np.where(hot, values[1], values[0]),)

    def cost(self, inputs: Sequence[TensorType | None], outputs: Sequence[TensorType]) -> Cost:
        return Cost()

    def portable(self, w: Writer, inputs: Sequence[Array | None], outputs: Sequence[Array]) -> None:
        (indices, depth, values), (y,) = inputs, outputs
        assert indices is not None and values is not None
        if depth is not None:
            w.line(f"(void){depth.pointer};")
        at = [f"i{a}" for a in range(indices.view.rank)]
        with w.block("if (begin < end)"), w.nest(list(zip(at, indices.view.shape, strict=True))):
            w.line(f"const int64_t given = (int64_t){indices.at(*at)};")
            w.line(f"const int64_t place = given < 0 ? given + {self.depth} : given;")
            with w.loop("d", self.depth):
                element = y.at(*at[: self.axis], "d", *at[self.axis :])
                w.line(f"{element} = place == d ? {values.at(1)} : {values.at(0)};")

    @classmethod
    def cases(cls) -> Iterator[Case]:
        values = np.array([0.0, 1.0], np.float32)
        yield Case(cls(1, 5), (np.array([0, 3, -1, 9]), np.array(5), values), "constant")
        yield Case(cls(0, 4), (TensorType((2, 3), DType.I64), np.array(4), TensorType((2,), DType.I32)), "axis 0")
