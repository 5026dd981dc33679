"""LpPool and GlobalLpPool."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgesmith.c.expr import call, var
from edgesmith.c.mathfunctions import functions_of
from edgesmith.c.writer import Writer
from edgesmith.errors import ModelError
from edgesmith.ir import DType, TensorType
from edgesmith.ops.base import OPS, Array, Case, OnnxNode, Operator, f32, operator
from edgesmith.ops.pool import Pool, pool_window, whole_window
from edgesmith.ops.window import Window


@operator
@dataclass(frozen=True)
class LpPool(Pool):
    """(sum of |x|**p)**(1/p) over each window, p >= 1 (https://onnx.ai/onnx/operators/onnx__LpPool.html)."""

    name: ClassVar[str] = "LpPool"
    dtypes: ClassVar[tuple[DType, ...]] = (DType.F32,)
    p: int = 2

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> tuple[Operator, tuple[str, ...]]:
        return cls(pool_window(node), _order(node)), node.inputs

    def to_onnx(self) -> tuple[str, dict[str, object], tuple[np.ndarray | None, ...]]:
        name, attributes, operands = super().to_onnx()
        return name, {**attributes, "p": self.p}, operands

    def reduction_length(self, inputs: Sequence[TensorType | None]) -> int:
        # Each power of |x| is a product of p factors.
        return math.prod(self.window.kernel) + self.p - 1

    def reference(self, *inputs: np.ndarray | None) -> tuple[np.ndarray, ...]:
        (x,) = inputs
        assert x is not None
        total = sum(np.abs(t.astype(np.float64)) ** self.p for _, t in self.window.taps(x, self.name))
        return ((total ** (1 / self.p)).astype(x.dtype),)

    def c_functions(self, inputs: Sequence[TensorType | None]) -> tuple[str, ...]:
        return functions_of(call("exp", call("log", var("x")))) if self.p > 2 else ()

    def portable(self, w: Writer, inputs: Sequence[Array | None], outputs: Sequence[Array]) -> None:
        (x,), (y,) = inputs, outputs
        assert x is not None
        p = self.p
        with self.each_output(w, y) as element:
            w.line("float sum = 0.0f;")
            with self.each_tap(w, x, y) as candidate:
                w.line(f"const float v = fabsf({candidate});")
                if p > 8:
                    w.line("float power = v;")
                    w.line(f"for (int32_t i = 1; i < {p}; ++i) {{ power *= v; }}")
                w.line(f"sum += {' * '.join('v' * p) if p <= 8 else 'power'};")
            if p <= 2:
                w.line(f"{element} = {'sum' if p == 1 else 'sqrtf(sum)'};")
                return
            with w.block("if (sum > 0.0f && sum < INFINITY)"):
                # One Newton step after the logarithm's estimate leaves the rounding error of the step alone.
                w.line(f"const float root = es_exp_f32(es_log_f32(sum) / {p}.0f);")
                w.line("float power = root;")
                w.line(f"for (int32_t i = 2; i < {p}; ++i) {{ power *= root; }}")
                w.line(f"sum = ({p - 1}.0f * root + sum / power) / {p}.0f;")
            w.line(f"{element} = sum;")

    @classmethod
    def cases(cls) -> Iterator[Case]:
        one, two, zero = (1, 1), (2, 2), (0, 0)
        yield Case(cls(Window((3, 3), two, one, one, one)), (f32(1, 6, 7, 8),), "l2")
        yield Case(cls(Window((2, 2), two, zero, zero, one), 1), (f32(2, 3, 6, 6),), "l1")
        yield Case(cls(Window((2, 3), one, one, zero, two), 3), (f32(1, 3, 7, 7),), "l3-dilated")
        yield Case(cls(Window((2, 2), two, zero, zero, one, True), 9), (f32(1, 3, 5, 5),), "l9-ceil")


def _order(node: OnnxNode) -> int:
    p = node.integer("p", 2)
    if p < 1:
        raise ModelError(f"p = {p} is no norm", where=node.name)
    if p > 64:
        raise node.unsupported(f"norm of order {p}")
    return p


@OPS.register("GlobalLpPool")
class GlobalLpPool(LpPool):
    """A LpPool whose window is the whole input (https://onnx.ai/onnx/operators/onnx__GlobalLpPool.html)."""

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> tuple[Operator, tuple[str, ...]]:
        return LpPool(whole_window(node), _order(node)), node.inputs

    @classmethod
    def cases(cls) -> Iterator[Case]:
        return iter(())
