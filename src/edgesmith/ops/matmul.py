"""MatMul."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from edgesmith.c.writer import Writer
from edgesmith.errors import ModelError, UnsupportedOp
from edgesmith.ir import Cost, DType, TensorType, View
from edgesmith.ops.base import Array, Case, Operator, broadcast_shape, f32, operator

__all__ = ["MatMul", "write_matrix_product"]

_DTYPES = (DType.F32, DType.F64, DType.I32, DType.I64, DType.U32, DType.U64)


@operator
@dataclass(frozen=True)
class MatMul(Operator):
    """Product of stacks of matrices by numpy's rules: batch axes broadcast, a 1-D operand is a row or a column.

    Integers wrap around. Source: https://onnx.ai/onnx/operators/onnx__MatMul.html.
    """

    name: ClassVar[str] = "MatMul"

    def infer(self, inputs: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        a, b = inputs
        assert a is not None and b is not None
        if a.dtype not in _DTYPES or b.dtype is not a.dtype:
            raise UnsupportedOp(f"MatMul of {a} with {b}")
        if not a.rank or not b.rank or a.shape[-1] != b.shape[max(b.rank - 2, 0)]:
            raise ModelError(f"cannot multiply {a} by {b}", where=self.name)
        batch = broadcast_shape(self.name, a.shape[:-2], b.shape[:-2])
        rows, columns = a.shape[-2:-1], b.shape[-1:] if b.rank > 1 else ()
        return (TensorType((*batch, *rows, *columns), a.dtype),)

    def reference(self, *inputs: np.ndarray | None) -> tuple[np.ndarray, ...]:
        a, b = inputs
        assert a is not None and b is not None
        return (np.asarray(a @ b),)

    def cost(self, inputs: Sequence[TensorType | None], outputs: Sequence[TensorType]) -> Cost:
        return Cost(macs=outputs[0].size * self.reduction_length(inputs))

    def reduction_length(self, inputs: Sequence[TensorType | None]) -> int:
        assert inputs[0] is not None
        return inputs[0].shape[-1]

    def tasks(self, inputs: Sequence[TensorType | None], outputs: Sequence[TensorType]) -> int:
        a, b = inputs
        assert a is not None and b is not None
        columns = b.shape[-1] if b.rank > 1 else 1
        return outputs[0].size // max(columns, 1)

    def portable(self, w: Writer, inputs: Sequence[Array | None], outputs: Sequence[Array]) -> None:
        a, b = inputs
        assert a is not None and b is not None
        kind = outputs[0].view.dtype
        cast = "" if kind.is_float else f"({_wrapping(kind).c})"
        write_matrix_product(w, a, b, outputs[0], lambda x, z: f"{cast}{x} * {cast}{z}")

    @classmethod
    def cases(cls) -> Iterator[Case]:
        weights = np.random.default_rng(4).standard_normal((20, 33), np.float32)
        yield Case(cls(), (f32(7, 20), weights), "weights")
        yield Case(cls(), (f32(2, 3, 5, 8), f32(2, 3, 8, 5)), "batched")
        yield Case(cls(), (f32(2, 1, 5, 8), f32(4, 8, 3)), "broadcast")
        yield Case(cls(), (f32(9), f32(9, 4)), "row")
        yield Case(cls(), (f32(2, 3, 9), f32(9)), "column")
        yield Case(cls(), (f32(9), f32(9)), "dot")
        yield Case(cls(), (TensorType((3, 4), DType.I32), TensorType((4, 5), DType.I32)), "i32")
        yield Case(cls(), (TensorType((3, 4), DType.U64), TensorType((4, 5), DType.U64)), "u64")
        yield Case(cls(), (TensorType((3, 4), DType.F64), TensorType((4, 5), DType.F64)), "f64")


def write_matrix_product(w: Writer, a: Array, b: Array, y: Array, product: Callable[[str, str], str]) -> None:
    """Write the loops of a product of stacks of matrices; a task is one row ``i`` of one matrix.

    Args:
        product: C text of the product of two elements, the second of which lies in column ``j``; integers are summed in
            the unsigned type.
    """
    left, right = _as_row(a.view), _as_column(b.view)
    rows, depth, columns = left.shape[-2], left.shape[-1], right.shape[-1]
    batch = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    result = y.view.reshape((*batch, rows, columns))
    assert result is not None
    x, z = (
        Array(a.pointer, left.broadcast((*batch, rows, depth))),
        Array(b.pointer, right.broadcast((*batch, depth, columns))),
    )
    kind = result.dtype
    exact = kind if kind.is_float else _wrapping(kind)
    index = [f"b{i}" for i in range(len(batch))]
    with w.block("for (int32_t task = begin; task < end; ++task)"):
        w.unravel("task", (*zip(index, batch, strict=True), ("i", rows)))
        with w.loop("j", columns):
            w.line(f"{exact.c} sum = 0;")
            with w.loop("k", depth):
                w.line(f"sum += {product(x.at(*index, 'i', 'k'), z.at(*index, 'k', 'j'))};")
            target = Array(y.pointer, result).at(*index, "i", "j")
            w.line(f"{target} = {'' if exact is kind else f'({kind.c})'}sum;")


def _wrapping(kind: DType) -> DType:
    """The unsigned integer of the same size, in which sums may wrap around."""
    return {4: DType.U32, 8: DType.U64}[kind.itemsize]


def _as_row(view: View) -> View:
    return replace(view, shape=(1, *view.shape), strides=(0, *view.strides)) if view.rank == 1 else view


def _as_column(view: View) -> View:
    return replace(view, shape=(*view.shape, 1), strides=(*view.strides, 0)) if view.rank == 1 else view
