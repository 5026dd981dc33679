"""What pooling operators share: the window, the geometry of the output, and the loops."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgesmith.c.writer import Writer
from edgesmith.errors import ModelError, UnsupportedOp
from edgesmith.ir import Cost, DType, TensorType
from edgesmith.ops.base import Array, Layout, OnnxNode, Operator
from edgesmith.ops.window import Window

__all__ = ["Pool", "pool_window", "whole_window"]


def pool_window(node: OnnxNode) -> Window:
    """The window of a pooling node."""
    kernel = node.integers("kernel_shape")
    if not kernel or node.type().rank < 3:
        raise ModelError(f"kernel_shape {kernel} does not fit input {node.type()}", where=node.name)
    spatial = node.type().shape[2:]
    window = Window.from_onnx(node, spatial, kernel)
    axes = zip(spatial, window.kernel, window.strides, strict=True)
    if str(node.attributes.get("auto_pad", "")).startswith("SAME") and any(
        (n - 1) // s * s + k < n for n, k, s in axes
    ):
        # The pads would be negative: ONNX Runtime refuses it or shifts the windows, depending on the operator.
        raise node.unsupported(f"auto_pad with kernel {window.kernel} and strides {window.strides}")
    return window


def whole_window(node: OnnxNode) -> Window:
    """The window of a global pooling node: all of the input."""
    spatial = node.type().shape[2:]
    if min(spatial, default=0) < 1:
        raise ModelError(f"{node.op_type} of {node.type()}", where=node.name)
    one, zero = (1,) * len(spatial), (0,) * len(spatial)
    return Window(spatial, one, zero, zero, one)


@dataclass(frozen=True)
class Pool(Operator):
    """A reduction over a sliding window of each channel of (N, C, *spatial)."""

    layout: ClassVar[Layout] = "channels_last"
    dtypes: ClassVar[tuple[DType, ...]] = (DType.F32, DType.F64)
    window: Window

    def to_onnx(self) -> tuple[str, dict[str, object], tuple[np.ndarray | None, ...]]:
        return self.name, {**self.window.to_onnx(), "ceil_mode": int(self.window.ceil)}, ()

    def infer(self, inputs: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        x = inputs[0]
        assert x is not None
        if x.dtype not in self.dtypes:
            raise UnsupportedOp(f"{self.name} of {x}")
        if x.rank != 2 + len(self.window.kernel):
            raise ModelError(f"window {self.window} does not fit input {x}", where=self.name)
        return (TensorType((*x.shape[:2], *self.window.output(x.shape[2:], self.name)), x.dtype),)

    def cost(self, inputs: Sequence[TensorType | None], outputs: Sequence[TensorType]) -> Cost:
        return Cost(flops=outputs[0].size * math.prod(self.window.kernel))

    def tasks(self, inputs: Sequence[TensorType | None], outputs: Sequence[TensorType]) -> int:
        return outputs[0].shape[0] * outputs[0].shape[1]

    @contextmanager
    def each_output(self, w: Writer, y: Array) -> Iterator[str]:
        """Loops over the outputs of a task; yields the C text of the output element."""
        batch, channels, *out = y.view.shape
        index = [f"o{a}" for a in range(len(out))]
        with w.block("for (int32_t task = begin; task < end; ++task)"):
            w.unravel("task", (("n", batch), ("c", channels)))
            with w.nest(list(zip(index, out, strict=True))):
                yield y.at("n", "c", *index)

    @contextmanager
    def each_tap(self, w: Writer, x: Array, y: Array) -> Iterator[str]:
        """Loops over the taps that lie inside the input; yields the C text of the input element."""
        axes = range(len(self.window.kernel))
        with w.nest([(f"k{a}", self.window.kernel[a]) for a in axes]):
            inside = self.window.write_position(w, x.view.shape[2:], y.view.shape[2:])
            with w.block(f"if ({inside})" if inside else ""):
                yield x.at("n", "c", *(f"i{a}" for a in axes))
