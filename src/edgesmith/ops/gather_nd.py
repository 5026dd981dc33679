"""GatherND."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgesmith.c.writer import Writer
from edgesmith.errors import ModelError
from edgesmith.ir import Cost, DType, TensorType
from edgesmith.ops.base import Array, Case, Operator, f32, operator
from edgesmith.ops.gather import write_index


@operator
@dataclass(frozen=True)
class GatherND(Operator):
    """Slices of x at the tuples along the last axis of ``indices`` (https://onnx.ai/onnx/operators/onnx__GatherND.html).

    The first ``batch_dims`` axes of both operands go together. Negative indices count from the end. An index outside
    its axis gives the nearest element; ONNX leaves it undefined.
    """

    name: ClassVar[str] = "GatherND"
    batch_dims: int = 0

    def infer(self, inputs: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        x, indices = inputs
        assert x is not None and indices is not None
        b = self.batch_dims
        fits = (
            0 <= b < min(x.rank, indices.rank)
            and x.shape[:b] == indices.shape[:b]
            and 1 <= indices.shape[-1] <= x.rank - b
            and indices.dtype is DType.I64
            and (x.size or not indices.size)
        )
        if not fits:
            raise ModelError(f"cannot gather {indices} from {x} with {b} batch axes", where=self.name)
        return (TensorType((*indices.shape[:-1], *x.shape[b + indices.shape[-1] :]), x.dtype),)

    def reference(self, *inputs: np.ndarray | None) -> tuple[np.ndarray, ...]:
        x, indices = inputs
        assert x is not None and indices is not None
        b, depth = self.batch_dims, indices.shape[-1]
        extents = np.array(x.shape[b : b + depth])
        places = np.clip(np.where(indices < 0, indices + extents, indices), 0, extents - 1)
        batch = [g.reshape(*g.shape, *(1,) * (indices.ndim - 1 - b)) for g in np.ogrid[tuple(map(slice, x.shape[:b]))]]
        return (x[(*batch, *np.moveaxis(places, -1, 0))],)

    def cost(self, inputs: Sequence[TensorType | None], outputs: Sequence[TensorType]) -> Cost:
        return Cost()

    def portable(self, w: Writer, inputs: Sequence[Array | None], outputs: Sequence[Array]) -> None:
        (x, indices), (y,) = inputs, outputs
        assert x is not None and indices is not None
        b, depth = self.batch_dims, indices.view.shape[-1]
        at = [f"j{a}" for a in range(indices.view.rank - 1)]
        places = [f"p{k}" for k in range(depth)]
        inner = [f"i{a}" for a in range(x.view.rank - b - depth)]
        with w.block("if (begin < end)"), w.nest(list(zip(at, indices.view.shape, strict=False))):
            for k, place in enumerate(places):
                write_index(w, place, indices, (*at, k), x.view.shape[b + k])
            with w.nest(list(zip(inner, x.view.shape[b + depth :], strict=True))):
                w.line(f"{y.at(*at, *inner)} = {x.at(*at[:b], *places, *inner)};")

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield Case(cls(), (f32(3, 4, 5), np.array([[2, -1], [0, 3]])), "slices")
        yield Case(cls(), (f32(3, 4), np.arange(20).reshape(5, 2, 2) % 6 - 3), "elements")
        yield Case(cls(1), (f32(2, 3, 1, 4), np.arange(20).reshape(2, 5, 2) % 2 * [1, 0]), "batched")
