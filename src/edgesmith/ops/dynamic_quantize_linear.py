"""DynamicQuantizeLinear."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgesmith.c.writer import Writer
from edgesmith.errors import UnsupportedOp
from edgesmith.ir import DType, TensorType
from edgesmith.ops.base import Array, Case, Layout, OnnxNode, Operator, f32, operator

__all__ = ["DynamicQuantizeLinear"]


@operator
@dataclass(frozen=True)
class DynamicQuantizeLinear(Operator):
    """x as u8 with the scale and zero point of its own range, widened to hold 0; also gives both.

    The scale is (largest - smallest) / 255, or 1 where that is 0; the zero point -smallest / scale, rounded to nearest
    even.

    Source: https://onnx.ai/onnx/operators/onnx__DynamicQuantizeLinear.html.
    """

    name: ClassVar[str] = "DynamicQuantizeLinear"
    layout: ClassVar[Layout] = "like_input"

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> tuple[Operator, tuple[str, ...]]:
        return cls(), node.inputs

    def infer(self, inputs: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        (x,) = inputs
        assert x is not None
        if x.dtype is not DType.F32:
            raise UnsupportedOp(f"DynamicQuantizeLinear of {x}")
        return TensorType(x.shape, DType.U8), TensorType((), DType.F32), TensorType((), DType.U8)

    def reference(self, *inputs: np.ndarray | None) -> tuple[np.ndarray, ...]:
        (x,) = inputs
        assert x is not None
        low, high = x.min(initial=np.float32(0)), x.max(initial=np.float32(0))
        with np.errstate(all="ignore"):
            scale = np.float32(high - low) / np.float32(255)
            scale = scale if scale != 0 else np.float32(1)
            zero = np.rint(np.clip(-low / scale, np.float32(0), np.float32(255)))
            steps = np.clip(np.rint(x / scale) + zero, 0, 255)
        return steps.astype(np.uint8), np.asarray(scale, np.float32), np.asarray(zero, np.uint8)

    def portable(self, w: Writer, inputs: Sequence[Array | None], outputs: Sequence[Array]) -> None:
        (x,), (y, scale, zero) = inputs, outputs
        assert x is not None
        index = [f"i{a}" for a in range(y.view.rank)]
        loops = [(index[a], y.view.shape[a]) for a in y.view.order()]
        with w.block("if (begin < end)"):
            w.line("float low = 0.0f, high = 0.0f;")
            with w.nest(loops):
                w.line(f"const float v = {x.at(*index)};")
                w.line("low = v < low ? v : low;")
                w.line("high = v > high ? v : high;")
            w.line("const float range = (high - low) / 255.0f;")
            w.line("const float step = range != 0.0f ? range : 1.0f;")
            w.line("const float offset = -low / step;")
            w.line("const float point = rintf(offset < 255.0f ? offset : 255.0f);")
            with w.nest(loops):
                w.line(f"const float v = rintf({x.at(*index)} / step) + point;")
                w.line("const float positive = v > 0.0f ? v : 0.0f;")
                w.line(f"{y.at(*index)} = (uint8_t)(positive < 255.0f ? positive : 255.0f);")
            w.line(f"{scale.at()} = step;")
            w.line(f"{zero.at()} = (uint8_t)point;")

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield Case(cls(), (f32(2, 3, 4, 5),), "image")
        yield Case(cls(), (np.array([3.0, 0.5, 7.25], np.float32),), "positive")
        yield Case(cls(), (np.array([-3.0, -0.5], np.float32),), "negative")
        yield Case(cls(), (np.zeros((2, 3), np.float32),), "zeros")
