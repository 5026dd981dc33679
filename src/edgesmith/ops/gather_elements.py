"""GatherElements."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgesmith.c.writer import Writer
from edgesmith.errors import ModelError
from edgesmith.ir import Cost, DType, TensorType
from edgesmith.ops.base import Array, Case, OnnxNode, Operator, f32, operator
from edgesmith.ops.gather import write_index


@operator
@dataclass(frozen=True)
class GatherElements(Operator):
    """y[i][j][k] = x[i][indices[i][j][k]][k] for axis 1 (https://onnx.ai/onnx/operators/onnx__GatherElements.html).

    Negative indices count from the end. An index outside the axis gives its nearest element; ONNX leaves it undefined.
    """

    name: ClassVar[str] = "GatherElements"
    axis: int = 0

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> tuple[Operator, tuple[str, ...]]:
        axis, rank = node.integer("axis", 0), node.type().rank
        if not -rank <= axis < rank:
            raise ModelError(f"axis {axis} of {node.type()}", where=node.name)
        return cls(axis % rank), node.inputs

    def infer(self, inputs: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        x, indices = inputs
        assert x is not None and indices is not None
        fits = (
            x.rank == indices.rank > self.axis
            and all(n <= m for a, (n, m) in enumerate(zip(indices.shape, x.shape, strict=True)) if a != self.axis)
            and indices.dtype in (DType.I32, DType.I64)
            and (x.size or not indices.size)
        )
        if not fits:
            raise ModelError(f"cannot gather {indices} from axis {self.axis} of {x}", where=self.name)
        return (TensorType(indices.shape, x.dtype),)

    def reference(self, *inputs: np.ndarray | None) -> tuple[np.ndarray, ...]:
        x, indices = inputs
        assert x is not None and indices is not None
        extent = x.shape[self.axis]
        places = np.clip(np.where(indices < 0, indices + extent, indices), 0, extent - 1).astype(np.int64)
        part = x[tuple(slice(None) if a == self.axis else slice(n) for a, n in enumerate(indices.shape))]
        return (np.take_along_axis(part, places, self.axis),)

    def cost(self, inputs: Sequence[TensorType | None], outputs: Sequence[TensorType]) -> Cost:
        return Cost()

    def tasks(self, inputs: Sequence[TensorType | None], outputs: Sequence[TensorType]) -> int:
        return outputs[0].shape[0]

    def portable(self, w: Writer, inputs: Sequence[Array | None], outputs: Sequence[Array]) -> None:
        (x, indices), (y,) = inputs, outputs
        assert x is not None and indices is not None
        index = [f"i{a}" for a in range(y.view.rank)]
        source = [*index[: self.axis], "place", *index[self.axis + 1 :]]
        with (
            w.block(f"for (int32_t {index[0]} = begin; {index[0]} < end; ++{index[0]})"),
            w.nest(list(zip(index[1:], y.view.shape[1:], strict=True))),
        ):
            write_index(w, "place", indices, index, x.view.shape[self.axis])
            w.line(f"{y.at(*index)} = {x.at(*source)};")

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield Case(cls(1), (f32(3, 5, 2), np.arange(24).reshape(3, 4, 2) % 10 - 5))
        yield Case(cls(0), (TensorType((4, 3), DType.U8), np.array([[0, -1], [3, 2]], np.int32)), "smaller indices")
        yield Case(cls(0), (f32(1, 3), np.array([[0, -1, 0], [0, 0, -1]])), "one element")
