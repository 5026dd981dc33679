"""The base of the operators that reduce axes to one element each."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgesmith.c.expr import Expr, emit, literal, var
from edgesmith.c.mathfunctions import functions_of
from edgesmith.c.writer import Writer
from edgesmith.errors import ModelError
from edgesmith.ir import Cost, DType, TensorType
from edgesmith.ops.base import Array, Case, OnnxNode, Operator, f32
from edgesmith.ops.elementwise import require_types

__all__ = ["Pass", "Reduction", "normalized_axes"]


def normalized_axes(axes: Sequence[int], rank: int, where: str) -> tuple[int, ...]:
    """Axes counted from the front, sorted; raises ``ModelError`` when one is outside or named twice."""
    found = sorted(a + rank if a < 0 else a for a in axes)
    if len(set(found)) != len(found) or any(not 0 <= a < rank for a in found):
        raise ModelError(f"axes {tuple(axes)} do not fit {rank} dimensions", where=where)
    return tuple(found)


@dataclass(frozen=True)
class Pass:
    """One walk over the elements: ``total`` begins as ``start`` and becomes ``step(total, x, *results before)``."""

    start: float
    step: Callable[..., Expr]


@dataclass(frozen=True)
class Reduction(Operator):
    """Stated as passes over the reduced elements and an expression of their results.

    Args:
        axes: reduced axes, counted from the front, sorted; with none, each element is reduced by itself.
        keepdims: reduced axes stay, with length 1.
    """

    case_dtypes: ClassVar[tuple[DType, ...]] = (DType.F32,)
    axes: tuple[int, ...]
    keepdims: int = 1

    @abstractmethod
    def passes(self, dtype: DType) -> Sequence[Pass]:
        """The walks over elements of ``dtype``."""

    def finish(self, *results: Expr, count: int) -> Expr:
        """The output element from the passes' results over ``count`` elements."""
        return results[-1]

    @abstractmethod
    def reduce(self, x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        """The result by numpy with reduced axes kept; floats are given as f64."""

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> tuple[Operator, tuple[str, ...]]:
        rank = node.type().rank
        axes = node.ints(1, "axes") or ()
        if not axes and not node.attributes.get("noop_with_empty_axes", 0):
            axes = tuple(range(rank))
        keepdims = node.integer("keepdims", 1)
        return cls(normalized_axes(axes, rank, node.name), keepdims), node.inputs[:1]

    def to_onnx(self) -> tuple[str, dict[str, object], tuple[np.ndarray | None, ...]]:
        attributes: dict[str, object] = {"keepdims": self.keepdims, "noop_with_empty_axes": int(not self.axes)}
        return self.name, attributes, (np.array(self.axes, np.int64),)

    def infer(self, inputs: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        (x,) = inputs
        assert x is not None
        require_types(self.name, [x.dtype], *self._expressions(x.dtype, 1))
        kept = [(1 if a in self.axes else n) for a, n in enumerate(x.shape) if self.keepdims or a not in self.axes]
        return (TensorType(tuple(kept), x.dtype),)

    def _expressions(self, dtype: DType, count: int) -> tuple[Expr, ...]:
        """The steps over variables ``total0``, ``total1``, ... and ``x``, and the final expression."""
        passes = self.passes(dtype)
        totals = [var(f"total{i}", dtype) for i in range(len(passes))]
        steps = [p.step(totals[i], var("x", dtype), *totals[:i]) for i, p in enumerate(passes)]
        return (*steps, self.finish(*totals, count=count))

    def reference(self, *inputs: np.ndarray | None) -> tuple[np.ndarray, ...]:
        (x,) = inputs
        assert x is not None
        is_float = DType.of(x.dtype).is_float
        with np.errstate(all="ignore"):
            y = np.asarray(self.reduce(x.astype(np.float64) if is_float else x, self.axes))
        return (y.astype(x.dtype).reshape(self.infer([TensorType.of(x)])[0].shape),)

    def cost(self, inputs: Sequence[TensorType | None], outputs: Sequence[TensorType]) -> Cost:
        assert inputs[0] is not None
        return Cost(flops=inputs[0].size * len(self.passes(inputs[0].dtype)))

    def reduction_length(self, inputs: Sequence[TensorType | None]) -> int:
        assert inputs[0] is not None
        return max(1, math.prod(inputs[0].shape[a] for a in self.axes))

    def tasks(self, inputs: Sequence[TensorType | None], outputs: Sequence[TensorType]) -> int:
        return outputs[0].size

    def c_functions(self, inputs: Sequence[TensorType | None]) -> tuple[str, ...]:
        assert inputs[0] is not None
        expressions = self._expressions(inputs[0].dtype, 1)
        return tuple(dict.fromkeys(name for e in expressions for name in functions_of(e)))

    def portable(self, w: Writer, inputs: Sequence[Array | None], outputs: Sequence[Array]) -> None:
        (x,), (y,) = inputs, outputs
        assert x is not None
        dtype, shape = x.view.dtype, x.view.shape
        kept = [a for a in range(x.view.rank) if a not in self.axes]
        index = [f"i{a}" for a in range(x.view.rank)]
        count = math.prod(shape[a] for a in self.axes)
        *steps, final = self._expressions(dtype, count)
        leaves = {f"total{i}": f"total{i}" for i in range(len(steps))}
        order = [a for a in x.view.order() if a in self.axes]
        with w.block("for (int32_t task = begin; task < end; ++task)"):
            w.unravel("task", [(index[a], shape[a]) for a in kept])
            for i, (step, walk) in enumerate(zip(steps, self.passes(dtype), strict=True)):
                w.line(f"{dtype.c} total{i} = {literal(walk.start, dtype)};")
                with w.nest([(index[a], shape[a]) for a in order]):
                    w.line(f"const {dtype.c} x = {x.at(*index)};")
                    w.line(f"total{i} = {emit(step, {**leaves, 'x': 'x'}, w)};")
            at = [("0" if a in self.axes else index[a]) for a in range(x.view.rank) if self.keepdims or a in kept]
            w.line(f"{y.at(*at)} = {emit(final, leaves, w)};")

    @classmethod
    def cases(cls) -> Iterator[Case]:
        for dtype in cls.case_dtypes:
            yield Case(cls((1, 2)), (TensorType((2, 3, 4, 5), dtype),), str(dtype))
        yield Case(cls((0,), 0), (f32(6, 4),), "outer")
        yield Case(cls((2,), 0), (f32(2, 3, 17),), "inner")
        yield Case(cls((0, 1, 2), 0), (f32(2, 3, 4),), "all")
        yield Case(cls((1,)), (f32(3, 1, 4),), "length 1")
