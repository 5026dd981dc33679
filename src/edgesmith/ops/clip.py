"""Clip."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgesmith.c.expr import Expr, call
from edgesmith.ir import DType, TensorType
from edgesmith.ops.base import Case, OnnxNode, Operator, f32, operator
from edgesmith.ops.elementwise import Elementwise
from edgesmith.ops.variadic import Max, Min


@operator
@dataclass(frozen=True)
class Clip(Elementwise):
    """min(high, max(low, x)) (https://onnx.ai/onnx/operators/onnx__Clip.html).

    The bounds are attributes where they are f32 constants; otherwise it becomes ``RunTimeClip``, ``Max`` or ``Min``.
    """

    name: ClassVar[str] = "Clip"
    low: float | None = None
    high: float | None = None

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> tuple[Operator, tuple[str, ...]]:
        given = [i for i in (1, 2) if node.has(i)]
        constant = all(node.inputs[i] in node.constants for i in given)
        if node.type().dtype is DType.F32 and constant:
            low, high = node.operand(1, "min"), node.operand(2, "max")
            return cls(None if low is None else low.item(), None if high is None else high.item()), node.inputs[:1]
        if len(given) == 1:
            return Max() if given == [1] else Min(), (node.inputs[0], node.inputs[given[0]])
        return (RunTimeClip(), node.inputs) if given else (cls(), node.inputs[:1])

    def to_onnx(self) -> tuple[str, dict[str, object], tuple[np.ndarray | None, ...]]:
        bounds = tuple(None if v is None else np.asarray(v, np.float32) for v in (self.low, self.high))
        return self.name, {}, bounds if any(b is not None for b in bounds) else ()

    def expression(self, *args: Expr) -> Expr:
        (x,) = args
        if self.low is not None:
            x = call("max", self.low, x)
        return x if self.high is None else call("min", self.high, x)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield Case(cls(0.0, 6.0), (f32(1, 5, 4, 4),))
        yield Case(cls(low=-0.5), (f32(9),), "low")
        yield Case(cls(high=0.25), (f32(3, 3),), "high")
        for dtype in (DType.F32, DType.F64, DType.I8, DType.I32, DType.I64, DType.U8):
            scalar = TensorType((), dtype)
            yield Case(RunTimeClip(), (TensorType((3, 5), dtype), scalar, scalar), f"run-time bounds {dtype}")


@dataclass(frozen=True)
class RunTimeClip(Elementwise):
    """min(high, max(low, x)) with the bounds as inputs."""

    name: ClassVar[str] = "RunTimeClip"
    arity: ClassVar[int] = 3

    def to_onnx(self) -> tuple[str, dict[str, object], tuple[np.ndarray | None, ...]]:
        return "Clip", {}, ()

    def expression(self, *args: Expr) -> Expr:
        x, low, high = args
        return call("min", high, call("max", low, x))
