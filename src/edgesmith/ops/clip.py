"""Clip."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgesmith.c.expr import Expr, call
from edgesmith.ops.base import Case, OnnxNode, Operator, f32, operator
from edgesmith.ops.elementwise import Elementwise


@operator
@dataclass(frozen=True)
class Clip(Elementwise):
    """min(high, max(low, x)) with bounds known at compile time (https://onnx.ai/onnx/operators/onnx__Clip.html)."""

    name: ClassVar[str] = "Clip"
    low: float | None = None
    high: float | None = None

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> tuple[Operator, tuple[str, ...]]:
        low, high = node.operand(1, "min"), node.operand(2, "max")
        return cls(None if low is None else low.item(), None if high is None else high.item()), node.inputs[:1]

    def to_onnx(self) -> tuple[str, dict[str, object], tuple[np.ndarray | None, ...]]:
        bounds = tuple(None if v is None else np.float32(v) for v in (self.low, self.high))
        return self.name, {}, tuple(None if b is None else np.asarray(b) for b in bounds)

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
