"""Operators that compute each output element from the input elements at the same (broadcast) index."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np

from edgesmith.c.expr import Expr, emit, evaluate, var
from edgesmith.c.mathfunctions import FUNCTIONS, functions_of, missing_functions
from edgesmith.c.writer import Writer
from edgesmith.errors import UnsupportedOp
from edgesmith.ir import DType, TensorType
from edgesmith.ops.base import Array, Case, Layout, Operator, broadcast_shape

__all__ = ["Elementwise", "require_types"]


def require_types(operator: str, dtypes: Sequence[DType], *exprs: Expr) -> None:
    """Raise ``UnsupportedOp`` unless C can compute ``exprs`` of inputs of these types."""
    missing = [name for e in exprs for name in missing_functions(e)]
    if DType.F64 in dtypes:
        called = [name for e in exprs for name in functions_of(e) if name in FUNCTIONS]
        missing += [name for name in called if not FUNCTIONS[name].full_precision or FUNCTIONS[name].dtype is DType.F32]
    if missing or {DType.F16, DType.BF16} & {*dtypes, *(e.dtype for e in exprs)}:
        raise UnsupportedOp(
            f"{operator} on {', '.join(map(str, dict.fromkeys(dtypes)))} is not implemented",
            hint="convert the model to f32",
        )


class Elementwise(Operator):
    """An operator stated as one expression, which serves numpy, scalar C, vector C and fusion."""

    layout: ClassVar[Layout] = "like_input"
    arity: ClassVar[int] = 1
    """Number of inputs; for variadic operators that of the test cases."""
    case_dtypes: ClassVar[tuple[DType, ...]] = (DType.F32,)
    """Input types of the test cases."""

    @abstractmethod
    def expression(self, *args: Expr) -> Expr:
        """The output element as an expression of the input elements."""

    def composed(self, types: Sequence[TensorType | None]) -> Expr:
        """``expression`` over variables ``x0``, ``x1``, ... of the inputs' types."""
        return self.expression(*(var(f"x{i}", t.dtype) for i, t in enumerate(types) if t is not None))

    def infer(self, inputs: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        given = [t for t in inputs if t is not None]
        shape = broadcast_shape(self.name, *(t.shape for t in given))
        expr = self.composed(inputs)
        require_types(self.name, [t.dtype for t in given], expr)
        return (TensorType(shape, expr.dtype),)

    def reference(self, *inputs: np.ndarray | None) -> tuple[np.ndarray, ...]:
        given = [a for a in inputs if a is not None]
        result = evaluate(self.composed([TensorType.of(a) for a in given]), {f"x{i}": a for i, a in enumerate(given)})
        return (np.broadcast_to(result, np.broadcast_shapes(*(a.shape for a in given))).copy(),)

    def c_functions(self, inputs: Sequence[TensorType | None]) -> tuple[str, ...]:
        return functions_of(self.composed(inputs))

    def portable(self, w: Writer, inputs: Sequence[Array | None], outputs: Sequence[Array]) -> None:
        (y,) = outputs
        given = [Array(a.pointer, a.view.broadcast(y.view.shape)) for a in inputs if a is not None]
        index = [f"i{a}" for a in range(y.view.rank)]
        with w.block("if (begin < end)"):
            _nest(w, y, index, list(y.view.order()), given, self.composed([a.view.type for a in given]))

    @classmethod
    def cases(cls) -> Iterator[Case]:
        for dtype in cls.case_dtypes:
            yield Case(cls(), (TensorType((2, 3, 5, 7), dtype),) * cls.arity, str(dtype))
        if cls.arity == 2:
            dtype = cls.case_dtypes[0]
            yield Case(cls(), (TensorType((2, 3, 5, 7), dtype), TensorType((3, 1, 1), dtype)), "channel")
            yield Case(cls(), (TensorType((5, 1), dtype), TensorType((2, 1, 7), dtype)), "outer")


def _nest(w: Writer, y: Array, index: list[str], axes: list[int], given: list[Array], expr: Expr) -> None:
    if axes:
        with w.loop(index[axes[0]], y.view.shape[axes[0]]):
            _nest(w, y, index, axes[1:], given, expr)
        return
    leaves = {f"x{i}": a.at(*index) for i, a in enumerate(given)}
    value = emit(expr, leaves, w)
    w.line(f"{y.at(*index)} = {value};")
