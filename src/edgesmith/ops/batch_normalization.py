"""BatchNormalization of inference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgesmith.c.expr import literal
from edgesmith.c.writer import Writer
from edgesmith.errors import ModelError
from edgesmith.ir import Cost, TensorType
from edgesmith.ops.base import Array, Case, Layout, OnnxNode, Operator, f32, operator
from edgesmith.ops.elementwise import require_types
from edgesmith.ops.normalization import sqrt_c


@operator
@dataclass(frozen=True)
class BatchNormalization(Operator):
    """(x - mean) / sqrt(variance + epsilon) * scale + bias of each channel, with given statistics.

    Inputs: x (N, C, ...), scale, bias, mean, variance (C,). Source:
    https://onnx.ai/onnx/operators/onnx__BatchNormalization.html.
    """

    name: ClassVar[str] = "BatchNormalization"
    layout: ClassVar[Layout] = "like_input"
    epsilon: float = 1e-5

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> tuple[Operator, tuple[str, ...]]:
        if node.attributes.get("training_mode", 0):
            raise node.unsupported("training mode", "export the model in inference mode")
        return cls(node.number("epsilon", 1e-5)), node.inputs

    def infer(self, inputs: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        x, *parameters = inputs
        assert x is not None
        require_types(self.name, [x.dtype])
        channels = x.shape[1] if x.rank > 1 else 1
        if len(parameters) != 4 or any(p is None or p.shape != (channels,) for p in parameters):
            raise ModelError(f"scale, bias, mean and variance do not fit {x}", where=self.name)
        return (x,)

    def reference(self, *inputs: np.ndarray | None) -> tuple[np.ndarray, ...]:
        x, *parameters = inputs
        assert x is not None
        shape = (-1, *(1,) * (x.ndim - 2))
        scale, bias, mean, variance = (p.astype(np.float64).reshape(shape) for p in parameters if p is not None)
        return (((x - mean) / np.sqrt(variance + self.epsilon) * scale + bias).astype(x.dtype),)

    def cost(self, inputs: Sequence[TensorType | None], outputs: Sequence[TensorType]) -> Cost:
        """Scaling and shifting: two operations an element."""
        return Cost(flops=2 * outputs[0].size)

    def tasks(self, inputs: Sequence[TensorType | None], outputs: Sequence[TensorType]) -> int:
        shape = outputs[0].shape
        return shape[0] * shape[1] if len(shape) > 1 else 1

    def portable(self, w: Writer, inputs: Sequence[Array | None], outputs: Sequence[Array]) -> None:
        x, *parameters = inputs
        (y,) = outputs
        assert x is not None
        dtype, shape = x.view.dtype, x.view.shape
        scale, bias, mean, variance = (p.at("i1") for p in parameters if p is not None)
        index = [f"i{a}" for a in range(x.view.rank)]
        with w.block("for (int32_t task = begin; task < end; ++task)"):
            w.unravel("task", list(zip(index[:2], shape[:2], strict=True)) if len(shape) > 1 else [])
            w.line(f"const {dtype.c} factor = {scale} / {sqrt_c(dtype)}({variance} + {literal(self.epsilon, dtype)});")
            rest = [a for a in x.view.order() if a > 1 or len(shape) < 2]
            with w.nest([(index[a], shape[a]) for a in rest]):
                w.line(f"{y.at(*index)} = ({x.at(*index)} - {mean}) * factor + {bias};")

    @classmethod
    def cases(cls) -> Iterator[Case]:
        rng = np.random.default_rng(6)
        scale, bias, mean = (rng.standard_normal(5, np.float32) for _ in range(3))
        variance = rng.uniform(0.1, 2, 5).astype(np.float32)
        yield Case(cls(), (f32(2, 5, 4, 3), scale, bias, mean, variance))
        yield Case(cls(1e-2), (f32(3, 5), scale, bias, mean, variance), "matrix")
