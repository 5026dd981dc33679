"""Softmax, LogSoftmax and Hardmax."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgesmith.c.writer import Writer
from edgesmith.errors import UnsupportedOp
from edgesmith.ir import Cost, DType, TensorType
from edgesmith.ops.base import Array, Case, Layout, OnnxNode, Operator, f32, operator
from edgesmith.ops.reduction import normalized_axes


@dataclass(frozen=True)
class AlongAxis(Operator):
    """Maps each line of elements along an axis to a line, starting from the line's maximum; f32."""

    layout: ClassVar[Layout] = "like_input"
    axis: int = -1

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> tuple[Operator, tuple[str, ...]]:
        axis = node.integer("axis", -1)
        return cls(*normalized_axes([axis], node.type().rank, node.name)), node.inputs

    def infer(self, inputs: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        (x,) = inputs
        assert x is not None
        if x.dtype is not DType.F32:
            raise UnsupportedOp(f"{self.name} on {x.dtype} is not implemented", hint="convert the model to f32")
        return (x,)

    def cost(self, inputs: Sequence[TensorType | None], outputs: Sequence[TensorType]) -> Cost:
        """Three walks: maximum, sum, result."""
        return Cost(flops=3 * outputs[0].size)

    def reduction_length(self, inputs: Sequence[TensorType | None]) -> int:
        assert inputs[0] is not None
        return max(1, inputs[0].shape[self.axis])

    def tasks(self, inputs: Sequence[TensorType | None], outputs: Sequence[TensorType]) -> int:
        return outputs[0].size // max(1, outputs[0].shape[self.axis])

    def portable(self, w: Writer, inputs: Sequence[Array | None], outputs: Sequence[Array]) -> None:
        (x,), (y,) = inputs, outputs
        assert x is not None
        index = [f"i{a}" for a in range(x.view.rank)]
        index[self.axis] = "k"
        n = x.view.shape[self.axis]
        with w.block("for (int32_t task = begin; task < end; ++task)"):
            w.unravel("task", [(i, m) for i, m in zip(index, x.view.shape, strict=True) if i != "k"])
            w.line("float top = -INFINITY;")
            with w.loop("k", n):
                w.line(f"top = {x.at(*index)} > top ? {x.at(*index)} : top;")
            self.line(w, n, x.at(*index), y.at(*index))

    @abstractmethod
    def line(self, w: Writer, n: int, x: str, y: str) -> None:
        """Write the C for one line of ``n`` elements: ``x`` and ``y`` are the texts of elements ``k``."""

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield Case(cls(1), (f32(4, 10),))
        yield Case(cls(1), (f32(2, 5, 3, 3),), "channels")
        yield Case(cls(0), (f32(17),), "vector")


@operator
@dataclass(frozen=True)
class Softmax(AlongAxis):
    """e**x over its sum along the axis (https://onnx.ai/onnx/operators/onnx__Softmax.html)."""

    name: ClassVar[str] = "Softmax"

    def reference(self, *inputs: np.ndarray | None) -> tuple[np.ndarray, ...]:
        (x,) = inputs
        assert x is not None
        e = np.exp(x - x.max(self.axis, keepdims=True, initial=-np.inf))
        return (e / e.sum(self.axis, keepdims=True),)

    def c_functions(self, inputs: Sequence[TensorType | None]) -> tuple[str, ...]:
        return ("exp",)

    def line(self, w: Writer, n: int, x: str, y: str) -> None:
        w.line("float sum = 0.0f;")
        with w.loop("k", n):
            w.line(f"const float e = es_exp_f32({x} - top);")
            w.line(f"{y} = e;")
            w.line("sum += e;")
        with w.loop("k", n):
            w.line(f"{y} /= sum;")


@operator
@dataclass(frozen=True)
class LogSoftmax(AlongAxis):
    """x less ln of the sum of e**x along the axis (https://onnx.ai/onnx/operators/onnx__LogSoftmax.html)."""

    name: ClassVar[str] = "LogSoftmax"

    def reference(self, *inputs: np.ndarray | None) -> tuple[np.ndarray, ...]:
        (x,) = inputs
        assert x is not None
        shifted = x - x.max(self.axis, keepdims=True, initial=-np.inf)
        return (shifted - np.log(np.exp(shifted).sum(self.axis, keepdims=True)),)

    def c_functions(self, inputs: Sequence[TensorType | None]) -> tuple[str, ...]:
        return ("exp", "log")

    def line(self, w: Writer, n: int, x: str, y: str) -> None:
        w.line("float sum = 0.0f;")
        with w.loop("k", n):
            w.line(f"sum += es_exp_f32({x} - top);")
        w.line("const float log_sum = es_log_f32(sum);")
        with w.loop("k", n):
            w.line(f"{y} = {x} - top - log_sum;")


@operator
@dataclass(frozen=True)
class Hardmax(AlongAxis):
    """1 at the first maximum along the axis, 0 elsewhere (https://onnx.ai/onnx/operators/onnx__Hardmax.html)."""

    name: ClassVar[str] = "Hardmax"

    def reference(self, *inputs: np.ndarray | None) -> tuple[np.ndarray, ...]:
        (x,) = inputs
        assert x is not None
        y = np.zeros_like(x)
        if x.size:
            np.put_along_axis(y, np.argmax(x, self.axis, keepdims=True), 1, self.axis)
        return (y,)

    def reduction_length(self, inputs: Sequence[TensorType | None]) -> int:
        return 1

    def line(self, w: Writer, n: int, x: str, y: str) -> None:
        w.line("uint8_t found = 0;")
        with w.loop("k", n):
            w.line(f"const uint8_t hit = !found && {x} == top;")
            w.line("found |= hit;")
            w.line(f"{y} = hit;")
