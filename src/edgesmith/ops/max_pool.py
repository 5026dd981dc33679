"""MaxPool and GlobalMaxPool."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgesmith.c.expr import literal
from edgesmith.c.writer import Writer
from edgesmith.ir import DType, TensorType
from edgesmith.ir.view import dense_strides
from edgesmith.ops.base import OPS, Array, Case, OnnxNode, Operator, f32, operator
from edgesmith.ops.pool import Pool, pool_window, whole_window
from edgesmith.ops.window import Window


@operator
@dataclass(frozen=True)
class MaxPool(Pool):
    """Largest element of each window; optionally its index too (https://onnx.ai/onnx/operators/onnx__MaxPool.html).

    The standard is silent about NaN, and ONNX Runtime returns it where it comes last in the window. Here it never is
    the largest, and a window of nothing else gives the lowest finite number, as one of -infinity does in both.

    Args:
        indices: also return where the maximum (the first one) lies in the flattened input.
        storage_order: 0: the spatial axes are flattened in row-major order, 1: in column-major order.
    """

    name: ClassVar[str] = "MaxPool"
    dtypes: ClassVar[tuple[DType, ...]] = (DType.F32, DType.F64, DType.I8, DType.U8, DType.I16, DType.U16)
    indices: bool = False
    storage_order: int = 0

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> tuple[Operator, tuple[str, ...]]:
        order = node.integer("storage_order", 0)
        return cls(pool_window(node), len(node.outputs) > 1, order), node.inputs

    def to_onnx(self) -> tuple[str, dict[str, object], tuple[np.ndarray | None, ...]]:
        name, attributes, operands = super().to_onnx()
        return name, {**attributes, "storage_order": self.storage_order}, operands

    def infer(self, inputs: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        (y,) = super().infer(inputs)
        return (y, TensorType(y.shape, DType.I64)) if self.indices else (y,)

    def _strides(self, shape: Sequence[int]) -> tuple[int, ...]:
        """What a step along each axis of the input adds to an index."""
        rank = len(shape)
        spatial = range(rank - 1, 1, -1) if self.storage_order else range(2, rank)
        return dense_strides(shape, (0, 1, *spatial))

    def reference(self, *inputs: np.ndarray | None) -> tuple[np.ndarray, ...]:
        (x,) = inputs
        assert x is not None
        lowest = DType.of(x.dtype).lowest
        taken = np.fmax(np.stack([t for _, t in self.window.taps(x, self.name, lowest)]), lowest)
        y = taken.max(axis=0)
        if not self.indices:
            return (y,)
        places = np.tensordot(self._strides(x.shape), np.indices(x.shape), 1)
        # A tap outside the input must not win over an equal element inside it.
        met = np.stack([t for _, t in self.window.taps(places, self.name, -1)])
        best = np.where(met < 0, -1, taken == y).argmax(axis=0)
        return y, np.take_along_axis(met, best[None], 0)[0]

    def portable(self, w: Writer, inputs: Sequence[Array | None], outputs: Sequence[Array]) -> None:
        x, y = inputs[0], outputs[0]
        assert x is not None
        kind = y.view.dtype
        strides = self._strides(x.view.shape)
        with self.each_output(w, y) as element:
            w.line(f"{kind.c} best = {literal(kind.lowest, kind)};")
            if self.indices:
                w.line("int64_t place = -1;")
            with self.each_tap(w, x, y) as candidate:
                w.line(f"const {kind.c} v = {candidate};")
                if self.indices:
                    index = ["n", "c", *(f"i{a}" for a in range(x.view.rank - 2))]
                    steps = [(i, s) for i, s, n in zip(index, strides, x.view.shape, strict=True) if n > 1]
                    met = " + ".join(f"(int64_t){i} * {s}" for i, s in steps)
                    w.line(f"place = v > best || place < 0 ? {met or '0'} : place;")
                w.line("best = v > best ? v : best;")
            w.line(f"{element} = best;")
            if self.indices:
                w.line(f"{outputs[1].at('n', 'c', *(f'o{a}' for a in range(y.view.rank - 2)))} = place;")

    @classmethod
    def cases(cls) -> Iterator[Case]:
        def window(kernel: int, stride: int, pad: int, rank: int = 2, dilation: int = 1, ceil: bool = False) -> Window:
            pads = (pad,) * rank
            return Window((kernel,) * rank, (stride,) * rank, pads, pads, (dilation,) * rank, ceil)

        yield Case(cls(window(3, 2, 1)), (f32(1, 19, 9, 10),), "3x3-stride2-pad")
        yield Case(cls(window(2, 2, 0)), (f32(2, 8, 6, 7),), "2x2")
        yield Case(cls(window(3, 2, 0, ceil=True)), (f32(1, 5, 8, 8),), "ceil")
        yield Case(cls(window(3, 1, 1, dilation=2)), (f32(1, 4, 9, 9),), "dilated")
        yield Case(cls(window(3, 2, 1, 1)), (f32(2, 3, 11),), "1d")
        yield Case(cls(window(2, 1, 1, 3)), (f32(1, 2, 3, 4, 5),), "3d")
        yield Case(cls(window(3, 1, 1)), (TensorType((1, 4, 5, 5), DType.U8),), "u8")
        yield Case(cls(window(2, 2, 0)), (TensorType((1, 4, 5, 5), DType.I8),), "i8")
        yield Case(cls(window(3, 2, 1)), (TensorType((1, 70, 9, 8), DType.U8),), "u8-stride2-pad")
        yield Case(cls(window(3, 2, 0, ceil=True)), (TensorType((2, 5, 8, 8), DType.I8),), "i8-ceil")
        yield Case(cls(window(3, 1, 2, dilation=2)), (TensorType((1, 6, 5, 7), DType.U8),), "u8-dilated")
        yield Case(cls(window(7, 1, 3)), (TensorType((1, 17, 9, 9), DType.I8),), "i8-7x7")
        yield Case(cls(window(3, 2, 1, 1)), (TensorType((2, 6, 11), DType.U8),), "u8-1d")
        yield Case(cls(window(2, 1, 1), True), (f32(2, 3, 4, 5),), "indices")
        yield Case(cls(window(2, 2, 0), True, 1), (f32(2, 3, 4, 5),), "column-major indices")


@OPS.register("GlobalMaxPool")
class GlobalMaxPool(MaxPool):
    """A MaxPool whose window is the whole input (https://onnx.ai/onnx/operators/onnx__GlobalMaxPool.html)."""

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> tuple[Operator, tuple[str, ...]]:
        return MaxPool(whole_window(node)), node.inputs

    @classmethod
    def cases(cls) -> Iterator[Case]:
        return iter(())
