"""What follows a product, computed in fp16 where that gives the same bits.

A region says that its operators compute in f32 and that their result is rounded to fp16. Where the operands of an
addition or a product are numbers of fp16 and its result is rounded to fp16 at once, arithmetic in fp16 rounds the exact
result once, and arithmetic in f32 twice to the same: 24 bits are enough for operands of 11 (Figueroa, "When is double
rounding innocuous?", SIGNUM Newsletter 30(3), 1995). Rounding is monotone, so that it may come before bounds that are
numbers of fp16.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgesmith.c.expr import Expr
from edgesmith.c.writer import Writer
from edgesmith.ir import DType
from edgesmith.kernels.epilogue import Epilogue
from edgesmith.ops import Array

__all__ = ["HalfEpilogue"]

ARITHMETIC = ("add", "mul")
BOUNDS = ("max", "min")


class HalfEpilogue:
    """The operators after a product on vectors of twice as many numbers as there are floats.

    Args:
        exact: the sums are numbers of fp16; otherwise they are f32.
    """

    def __init__(self, epilogue: Epilogue, exact: bool) -> None:
        self.epilogue, self.exact = epilogue, exact
        self.possible = epilogue.dtype is DType.F16 and self._in_halves(epilogue.expr)

    def _in_halves(self, e: Expr) -> bool:
        """Whether an expression that is rounded to fp16 last has the same value in fp16."""
        if e.op != "narrow":
            return False
        inner = e.args[0]
        if self._is_half(inner) or self._is_bounded_sum(inner):
            return True
        return inner.op in ARITHMETIC and all(map(self._is_half, inner.args))

    def _is_half(self, e: Expr) -> bool:
        """Whether every value of an f32 expression is a number of fp16 that can be computed as such."""
        if e.op == "var":
            return e.value == "acc" and self.exact
        if e.op == "const":
            return _is_representable(e)
        if e.op in BOUNDS:
            return e.args[0].op == "const" and all(map(self._is_half, e.args))
        if e.op == "widen":
            (inner,) = e.args
            return (inner.op == "var" and self._is_operand(str(inner.value))) or self._in_halves(inner)
        return False

    def _is_bounded_sum(self, e: Expr) -> bool:
        while e.op in BOUNDS and e.args[0].op == "const" and _is_representable(e.args[0]):
            e = e.args[1]
        return e.op == "var" and e.value == "acc"

    def _is_operand(self, name: str) -> bool:
        """Whether an operand of fp16 lies along the vectors, or is the same for all of a vector."""
        array = next(a for a in self.epilogue.operands if a.pointer == name)
        return array.view.dtype is DType.F16

    def store(self, w: Writer, sums: str, address: Callable[[Array], str], y: Array) -> None:
        """Write the operators on the vector of fp16 ``sums``, and the store.

        Args:
            address: C text of the address of an operand's first element.
        """
        operands = {a.pointer: a for a in self.epilogue.operands}

        def text(e: Expr) -> str:
            if e.op == "var":
                return sums if e.value == "acc" else self._load(operands[str(e.value)], address)
            if e.op == "const":
                bits = int(np.float16(float(str(e.value))).view(np.uint16))
                return f"es_set1_i32((int32_t)0x{bits:04x}{bits:04x}u)"
            if e.op in ("narrow", "widen"):
                return text(e.args[0])
            return f"es_{e.op}_f16({text(e.args[0])}, {text(e.args[1])})"

        w.line(f"es_store_pairs_i16((int16_t *)({address(y)}), {text(self.epilogue.expr)});")

    def _load(self, array: Array, address: Callable[[Array], str]) -> str:
        axis, at = self.epilogue.axis, address(array)
        if array.view.strides[axis] == 0 and array.view.shape[axis] > 1:
            return f"es_pair_f16({at})"
        return f"es_pairs_i16((const int16_t *)({at}))"


def _is_representable(constant: Expr) -> bool:
    number = np.float32(float(str(constant.value)))
    with np.errstate(over="ignore"):
        return bool(np.float32(np.float16(number)) == number)
