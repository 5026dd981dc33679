"""The base of the normalisations: each group of elements less its mean, over its deviation, scaled and shifted."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgesmith.c.expr import literal
from edgesmith.c.writer import Writer
from edgesmith.errors import ModelError
from edgesmith.ir import Cost, DType, TensorType
from edgesmith.ops.base import Array, Layout, Operator, broadcast_shape
from edgesmith.ops.elementwise import require_types

__all__ = ["Grouping", "Normalization", "sqrt_c"]


@dataclass(frozen=True)
class Grouping:
    """How the elements of a tensor form groups.

    Args:
        shape: the tensor's shape, perhaps with an axis split in two.
        axes: the axes of ``shape`` whose elements belong to one group.
        parameters: the shape that scale and bias get, so that they broadcast to ``shape``; None: as they are.
    """

    shape: tuple[int, ...]
    axes: tuple[int, ...]
    parameters: tuple[int, ...] | None = None


class Normalization(Operator):
    """(x - mean) / sqrt(variance + epsilon) * scale + bias over each group; scale and bias may be absent."""

    layout: ClassVar[Layout] = "like_input"
    centred: ClassVar[bool] = True
    """Whether the mean is taken away; otherwise the variance is the mean square."""
    statistics: int = 0
    """Number of outputs that follow: 1 for the groups' means, 2 for means and inverse deviations."""

    @property
    @abstractmethod
    def epsilon(self) -> float:
        """Added to the variance."""

    @abstractmethod
    def grouping(self, shape: tuple[int, ...]) -> Grouping:
        """The groups of a tensor."""

    def inverse(self, variance: str, dtype: DType) -> str:
        """C text of the factor that follows from a group's variance."""
        return f"1 / {sqrt_c(dtype)}({variance} + {self.epsilon_c(dtype)})"

    def epsilon_c(self, dtype: DType) -> str:
        return literal(self.epsilon, dtype)

    def inverse_reference(self, variance: np.ndarray) -> np.ndarray:
        return np.asarray(1 / np.sqrt(variance + self.epsilon))

    def infer(self, inputs: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        x, *parameters = inputs
        assert x is not None
        require_types(self.name, [x.dtype])
        group = self.grouping(x.shape)
        for p in (p for p in parameters if p is not None):
            shape = p.shape if group.parameters is None else group.parameters
            if p.size != math.prod(shape) or broadcast_shape(self.name, shape, group.shape) != group.shape:
                raise ModelError(f"scale or bias {p} does not fit {x}", where=self.name)
        kept = tuple(1 if a in group.axes else n for a, n in enumerate(group.shape))
        return (x, *(TensorType(kept, x.dtype),) * self.statistics)

    def reference(self, *inputs: np.ndarray | None) -> tuple[np.ndarray, ...]:
        x, scale, bias = (*inputs, None, None)[:3]
        assert x is not None
        group = self.grouping(x.shape)
        wide = x.astype(np.float64).reshape(group.shape)
        mean = wide.mean(group.axes, keepdims=True) if self.centred else np.zeros(())
        factor = self.inverse_reference(((wide - mean) ** 2).mean(group.axes, keepdims=True))
        y = (wide - mean) * factor
        if scale is not None:
            y = y * (scale if group.parameters is None else scale.reshape(group.parameters))
        if bias is not None:
            y = y + (bias if group.parameters is None else bias.reshape(group.parameters))
        return tuple(r.astype(x.dtype) for r in (y.reshape(x.shape), mean, factor)[: 1 + self.statistics])

    def cost(self, inputs: Sequence[TensorType | None], outputs: Sequence[TensorType]) -> Cost:
        """Mean, deviation, scaling and shifting: about six operations an element."""
        return Cost(flops=6 * outputs[0].size)

    def reduction_length(self, inputs: Sequence[TensorType | None]) -> int:
        assert inputs[0] is not None
        group = self.grouping(inputs[0].shape)
        return max(1, math.prod(group.shape[a] for a in group.axes))

    def tasks(self, inputs: Sequence[TensorType | None], outputs: Sequence[TensorType]) -> int:
        group = self.grouping(outputs[0].shape)
        return math.prod(n for a, n in enumerate(group.shape) if a not in group.axes)

    def portable(self, w: Writer, inputs: Sequence[Array | None], outputs: Sequence[Array]) -> None:
        given, *parameters = inputs
        assert given is not None
        dtype, group = given.view.dtype, self.grouping(given.view.shape)
        x, y = _split(given, group.shape), _split(outputs[0], group.shape)
        scale, bias = ([None if p is None else _broadcast(p, group) for p in parameters] + [None, None])[:2]
        index = [f"i{a}" for a in range(len(group.shape))]
        loops = [(index[a], group.shape[a]) for a in x.view.order() if a in group.axes]
        count = literal(math.prod(n for _, n in loops), dtype)
        with w.block("for (int32_t task = begin; task < end; ++task)"):
            w.unravel("task", [(index[a], n) for a, n in enumerate(group.shape) if a not in group.axes])
            if self.centred:
                w.line(f"{dtype.c} mean = 0;")
                with w.nest(loops):
                    w.line(f"mean += {x.at(*index)};")
                w.line(f"mean /= {count};")
            deviation = f"{x.at(*index)} - mean" if self.centred else x.at(*index)
            w.line(f"{dtype.c} variance = 0;")
            with w.nest(loops):
                w.line(f"const {dtype.c} deviation = {deviation};")
                w.line("variance += deviation * deviation;")
            w.line(f"variance /= {count};")
            w.line(f"const {dtype.c} inverse = {self.inverse('variance', dtype)};")
            for name, output in zip(("mean", "inverse"), outputs[1:], strict=False):
                w.line(f"{output.at(*('0' if a in group.axes else index[a] for a in range(len(index))))} = {name};")
            with w.nest(loops):
                value = f"({deviation}) * inverse"
                value += "" if scale is None else f" * {scale.at(*index)}"
                value += "" if bias is None else f" + {bias.at(*index)}"
                w.line(f"{y.at(*index)} = {value};")


def sqrt_c(dtype: DType) -> str:
    """Name of the square root in C."""
    return "sqrt" if dtype is DType.F64 else "sqrtf"


def _split(array: Array, shape: tuple[int, ...]) -> Array:
    view = array.view.reshape(shape)
    assert view is not None, "splitting an axis always has a view"
    return Array(array.pointer, view)


def _broadcast(array: Array, group: Grouping) -> Array:
    shaped = array if group.parameters is None else _split(array, group.parameters)
    return Array(shaped.pointer, shaped.view.broadcast(group.shape))
