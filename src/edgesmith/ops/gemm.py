"""Gemm."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgesmith.c.expr import literal
from edgesmith.c.writer import Writer
from edgesmith.errors import ModelError, UnsupportedOp
from edgesmith.ir import Cost, DType, TensorType
from edgesmith.ops.base import Array, Case, OnnxNode, Operator, broadcast_shape, f32, operator


@operator
@dataclass(frozen=True)
class Gemm(Operator):
    """alpha A' B' + beta C, with A' = A or its transpose (https://onnx.ai/onnx/operators/onnx__Gemm.html)."""

    name: ClassVar[str] = "Gemm"
    alpha: float = 1.0
    beta: float = 1.0
    transA: int = 0
    transB: int = 0

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> tuple[Operator, tuple[str, ...]]:
        op, inputs = super().from_onnx(node)
        assert isinstance(op, Gemm)
        return op, inputs if op.beta else inputs[:2]

    def infer(self, inputs: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        a, b = inputs[0], inputs[1]
        assert a is not None and b is not None
        if a.dtype not in (DType.F32, DType.F64) or b.dtype is not a.dtype:
            raise UnsupportedOp(f"Gemm of {a} with {b}")
        if a.rank != 2 or b.rank != 2 or a.shape[1 - self.transA] != b.shape[self.transB]:
            raise ModelError(
                f"cannot multiply {a} by {b} (transA {self.transA}, transB {self.transB})", where=self.name
            )
        shape = (a.shape[self.transA], b.shape[1 - self.transB])
        if len(inputs) > 2 and inputs[2] is not None and broadcast_shape("Gemm", inputs[2].shape, shape) != shape:
            raise ModelError(f"C {inputs[2]} does not broadcast to {shape}", where=self.name)
        return (TensorType(shape, a.dtype),)

    def reference(self, *inputs: np.ndarray | None) -> tuple[np.ndarray, ...]:
        a, b, c = (*inputs, None)[:3]
        assert a is not None and b is not None
        y = self.alpha * ((a.T if self.transA else a) @ (b.T if self.transB else b))
        return ((y if c is None else y + self.beta * c).astype(a.dtype),)

    def cost(self, inputs: Sequence[TensorType | None], outputs: Sequence[TensorType]) -> Cost:
        return Cost(macs=outputs[0].size * self.reduction_length(inputs))

    def reduction_length(self, inputs: Sequence[TensorType | None]) -> int:
        assert inputs[0] is not None
        return inputs[0].shape[1 - self.transA]

    def tasks(self, inputs: Sequence[TensorType | None], outputs: Sequence[TensorType]) -> int:
        return outputs[0].shape[0]

    def portable(self, w: Writer, inputs: Sequence[Array | None], outputs: Sequence[Array]) -> None:
        a, b, c = (*inputs, None)[:3]
        (y,) = outputs
        assert a is not None and b is not None
        kind = y.view.dtype
        depth = a.view.shape[1 - self.transA]
        with w.block("for (int32_t i = begin; i < end; ++i)"), w.loop("j", y.view.shape[1]):
            w.line(f"{kind.c} sum = 0;")
            with w.loop("k", depth):
                left = a.at("k", "i") if self.transA else a.at("i", "k")
                right = b.at("j", "k") if self.transB else b.at("k", "j")
                w.line(f"sum += {left} * {right};")
            term = "sum" if self.alpha == 1 else f"{literal(self.alpha, kind)} * sum"
            if c is not None:
                added = Array(c.pointer, c.view.broadcast(y.view.shape)).at("i", "j")
                term += f" + {added}" if self.beta == 1 else f" + {literal(self.beta, kind)} * {added}"
            w.line(f"{y.at('i', 'j')} = {term};")

    @classmethod
    def cases(cls) -> Iterator[Case]:
        rng = np.random.default_rng(3)
        weights, bias = rng.standard_normal((37, 50), np.float32), rng.standard_normal(37, np.float32)
        yield Case(cls(transB=1), (f32(1, 50), weights, bias), "fully-connected")
        yield Case(cls(transB=1), (f32(5, 50), weights, None), "no-bias")
        large = rng.standard_normal((64, 64), np.float32)
        yield Case(cls(transB=1), (f32(19, 64), large, np.ones(64, np.float32)), "large")
        yield Case(cls(alpha=0.5, beta=2.0, transA=1), (f32(6, 4), f32(6, 9), f32(4, 1)), "run-time operands")
