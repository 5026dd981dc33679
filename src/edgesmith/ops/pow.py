"""Pow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgesmith.c.expr import Expr, call, cast, const, select
from edgesmith.errors import UnsupportedOp
from edgesmith.ir import DType, TensorType
from edgesmith.ops.base import Case, f32, operator
from edgesmith.ops.elementwise import Elementwise


@operator
@dataclass(frozen=True)
class Pow(Elementwise):
    """a**b in the type of a (https://onnx.ai/onnx/operators/onnx__Pow.html).

    Integers to the power of integers wrap around; to the power of floats they are truncated, as in ONNX Runtime.
    """

    name: ClassVar[str] = "Pow"
    arity: ClassVar[int] = 2

    def infer(self, inputs: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        a, b = inputs
        assert a is not None and b is not None
        if DType.F64 in (a.dtype, b.dtype):
            raise UnsupportedOp("Pow on f64 is not implemented", hint="convert the model to f32")
        return super().infer(inputs)

    def expression(self, *args: Expr) -> Expr:
        a, b = args
        if a.dtype is DType.F32:
            short = _by_multiplication(a, b)
            if short is not None:
                return short
            if b.dtype is DType.F32:
                return call("pow", a, b)
            return cast(call("pow", cast(a, DType.F64), cast(b, DType.F64)), DType.F32)
        if not b.dtype.is_float:
            return cast(call("pow", cast(a, DType.I64), cast(b, DType.I64)), a.dtype)
        power = call("pow", cast(a, DType.F64), cast(b, DType.F64))
        # A power that is whole may come out a little below, and would then lose one.
        nearest = call("rint", power)
        near = call("abs", power - nearest) <= call("abs", power) * 1e-9
        return cast(select(near, nearest, power), a.dtype)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        exponents = np.array([2.0, -1.0, 0.5, 3.0, 0.0, -2.0, 1.7], np.float32)
        yield Case(cls(), (f32(4, 7), exponents))
        yield Case(cls(), (np.abs(np.random.default_rng(1).standard_normal((3, 5), np.float32)), f32(3, 5)), "positive")
        for exponent in (2.0, 3.0, 4.0, 1.0, -1.0, 0.5, -0.5):
            yield Case(cls(), (f32(21), np.array(exponent, np.float32)), f"to the {exponent}")
        yield Case(cls(), (f32(4, 3), TensorType((3,), DType.I64)), "integer exponent")
        yield Case(cls(), (TensorType((4, 3), DType.I32), np.array([3, 0, 2], np.int32)), "i32")
        yield Case(cls(), (TensorType((4, 3), DType.I64), np.array([2, 1, 3], np.float32)), "i64 to a float")


def _by_multiplication(a: Expr, b: Expr) -> Expr | None:
    """Powers to common constants."""
    if b.op != "const":
        return None
    square = a * a
    return {
        1.0: a,
        2.0: square,
        3.0: square * a,
        4.0: square * square,
        -1.0: const(1.0, a.dtype) / a,
        -2.0: const(1.0, a.dtype) / square,
    }.get(float(b.value))  # type: ignore[arg-type]
