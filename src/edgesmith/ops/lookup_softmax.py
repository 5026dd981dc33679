"""Softmax from bytes to bytes by a table of exponentials."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgesmith.c.expr import Expr, cast, const, emit, var
from edgesmith.c.writer import Writer
from edgesmith.errors import UnsupportedOp
from edgesmith.ir import Cost, DType, Node, TensorType
from edgesmith.ops.base import Array, Case, Layout, Operator, operator
from edgesmith.ops.cast import Cast
from edgesmith.ops.division import Div
from edgesmith.ops.gather import Gather
from edgesmith.ops.lookup import BYTES
from edgesmith.ops.mul import Mul
from edgesmith.ops.quantize_linear import QuantizeLinear
from edgesmith.ops.reductions import ReduceMax, ReduceSum
from edgesmith.ops.sub import Sub

__all__ = ["LONGEST", "LookupSoftmax", "exponentials"]

LONGEST = 2048
"""Elements of a line for which the table's roundings amount to half a step of the result at most."""
_SUM_BITS, _FLOAT_BITS = 30, 23
_ROUNDINGS = 8
"""Of floats besides those of the sum: difference, exponential, quotient, scale."""


def exponentials(scale: float, length: int) -> np.ndarray:
    """(256) i32: e**(-scale d) for differences d, in units of which ``length`` make less than 2**31 in all.

    With 2**b units for 1, the sum of a line is off by ``length`` / 2**(b + 1) of itself at most.
    """
    bits = min(_FLOAT_BITS, _SUM_BITS - math.ceil(math.log2(max(length, 1))))
    return np.asarray(np.rint(np.exp(-scale * np.arange(256)) * 2.0**bits), np.int32)


@operator
@dataclass(frozen=True)
class LookupSoftmax(Operator):
    """Softmax of dequantised bytes along an axis, quantised; exact integers but for three roundings of f32.

    Inputs are x (bytes), the table of ``exponentials`` (i32), the reciprocal of the result's scale (f32) and the
    result's zero point, the last three constant. With t = table[largest x of the line - x] and r = factor / sum of t,

        y = t * r, rounded to the nearest even, plus the zero point, saturated.

    ONNX has no such operator; it is spelled out.
    """

    name: ClassVar[str] = "LookupSoftmax"
    layout: ClassVar[Layout] = "like_input"
    axis: int
    dtype: DType

    def infer(self, inputs: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        x, table, factor, zero = inputs
        assert x is not None and table is not None and factor is not None and zero is not None
        kinds = (table.dtype, table.shape, factor.dtype, factor.size, zero.size)
        if x.dtype not in BYTES or zero.dtype is not self.dtype or kinds != (DType.I32, (256,), DType.F32, 1, 1):
            raise UnsupportedOp(f"LookupSoftmax of {x} with {table}, {factor} and {zero}")
        return (TensorType(x.shape, self.dtype),)

    def reference(self, *inputs: np.ndarray | None) -> tuple[np.ndarray, ...]:
        x, table, factor, zero = inputs
        assert x is not None and table is not None and factor is not None and zero is not None
        wide = x.astype(np.int32)
        t = table[wide.max(self.axis, keepdims=True, initial=-128) - wide]
        r = factor.reshape(()) / t.sum(self.axis, keepdims=True, dtype=np.int32).astype(np.float32)
        return QuantizeLinear(self.dtype).reference(t.astype(np.float32) * r, np.ones((), np.float32), zero.reshape(()))

    def unrounded(self, *inputs: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Entries of the table are off by half a unit at most, evenly spread; floats round each term of a sum."""
        x, table, factor, zero = inputs
        assert x is not None and table is not None and factor is not None and zero is not None
        wide = x.astype(np.int32)
        t = table[wide.max(self.axis, keepdims=True, initial=-128) - wide].astype(np.float64)
        unit = factor.astype(np.float64).reshape(()) / t.sum(self.axis, keepdims=True)
        steps, length = t * unit, x.shape[self.axis]
        own, sums = unit / math.sqrt(12), steps / t.sum(self.axis, keepdims=True) * math.sqrt(length / 12)
        floats = steps * DType.F32.unit_roundoff * math.sqrt(length + _ROUNDINGS)
        return steps + zero.reshape(()), np.sqrt(own**2 + sums**2 + floats**2)

    def cost(self, inputs: Sequence[TensorType | None], outputs: Sequence[TensorType]) -> Cost:
        """Three walks: maximum, sum, result."""
        return Cost(flops=3 * outputs[0].size)

    @staticmethod
    def result(zero: Expr) -> Expr:
        """An element of the result from the variables ``t`` and ``r``; its type is that of the zero point."""
        scaled = cast(var("t", DType.I32), DType.F32) * var("r")
        return QuantizeLinear(zero.dtype).expression(scaled, const(1.0, DType.F32), zero)

    def tasks(self, inputs: Sequence[TensorType | None], outputs: Sequence[TensorType]) -> int:
        return outputs[0].size // max(1, outputs[0].shape[self.axis])

    def portable(self, w: Writer, inputs: Sequence[Array | None], outputs: Sequence[Array]) -> None:
        x, table, factor, zero = inputs
        (y,) = outputs
        assert x is not None and table is not None and factor is not None and zero is not None
        index = [f"i{a}" for a in range(x.view.rank)]
        index[self.axis] = "k"
        n = x.view.shape[self.axis]
        with w.block("for (int32_t task = begin; task < end; ++task)"):
            w.unravel("task", [(i, m) for i, m in zip(index, x.view.shape, strict=True) if i != "k"])
            w.line(f"int32_t top = {x.view.dtype.limits[0]}, sum = 0;")
            with w.loop("k", n):
                w.line(f"top = {x.at(*index)} > top ? {x.at(*index)} : top;")
            with w.loop("k", n):
                w.line(f"sum += {table.at(f'top - {x.at(*index)}')};")
            w.line(f"const float r = {factor.pointer}[0] / (float)sum;")
            with w.loop("k", n):
                leaves = {"t": table.at(f"top - {x.at(*index)}"), "r": "r", "z": f"{zero.pointer}[0]"}
                w.line(f"{y.at(*index)} = {emit(self.result(var('z', zero.view.dtype)), leaves, w)};")

    def spelled_out(self, node: Node) -> tuple[tuple[Node, ...], Mapping[str, np.ndarray]] | None:
        (x, table, factor, zero), (y,) = node.inputs, node.outputs

        def value(part: str) -> str:
            return f"{y}:{part}"

        steps = (
            ("integers", Cast(DType.I32), (x,)),
            ("top", ReduceMax((self.axis,)), (value("integers"),)),
            ("below", Sub(), (value("top"), value("integers"))),
            ("terms", Gather(), (table, value("below"))),
            ("sum", ReduceSum((self.axis,)), (value("terms"),)),
            ("sum in f32", Cast(DType.F32), (value("sum"),)),
            ("multiplier", Div(), (factor, value("sum in f32"))),
            ("terms in f32", Cast(DType.F32), (value("terms"),)),
            ("steps", Mul(), (value("terms in f32"), value("multiplier"))),
        )
        nodes = [Node(f"{node.name}:{part}", op, read, (value(part),), node.origin) for part, op, read in steps]
        return (*nodes, Node(node.name, QuantizeLinear(self.dtype), (value("steps"), value("one"), zero), (y,))), {
            value("one"): np.array(1, np.float32)
        }

    @classmethod
    def cases(cls) -> Iterator[Case]:
        results = {DType.U8: (3, 255.0), DType.I8: (-128, 256.0)}

        def case(name: str, axis: int, x: TensorType, y: DType, scale: float = 0.05) -> Case:
            zero, factor = results[y]
            constants = (exponentials(scale, x.shape[axis]), np.array(factor, np.float32), np.array(zero, y.numpy))
            return Case(cls(axis, y), (x, *constants), name)

        yield case("rows", 1, TensorType((6, 50), DType.I8), DType.U8)
        yield case("long rows", 2, TensorType((2, 3, 300), DType.U8), DType.I8, 0.1)
        yield case("channels", 1, TensorType((2, 35, 3, 4), DType.U8), DType.U8)
        yield case("short rows", 1, TensorType((5, 3), DType.I8), DType.I8)
        yield case("flat", 0, TensorType((17,), DType.U8), DType.U8, 1e-4)
