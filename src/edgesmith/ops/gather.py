"""Gather."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from edgesmith.c.writer import Writer
from edgesmith.errors import ModelError
from edgesmith.ir import Cost, DType, TensorType, View
from edgesmith.ops.base import Array, Case, OnnxNode, Operator, f32, operator
from edgesmith.ops.movement import Copy, Movement

__all__ = ["Gather", "Take", "write_index"]

MAX_COPIES = 16
"""Constant indices that fall into more arithmetic progressions stay an operand."""


def write_index(w: Writer, name: str, indices: Array, at: Sequence[str | int], extent: int) -> None:
    """Write the constant ``name``: an element of ``indices``, counted from the end when negative, kept inside the axis.

    Along an axis of one element there is nothing to write: ``Array.at`` leaves its index out.
    """
    if extent == 1:
        w.line(f"(void){indices.pointer};")
        return
    given, place, last = f"{name}_given", f"{name}_place", extent - 1
    w.line(f"const int64_t {given} = (int64_t){indices.at(*at)};")
    w.line(f"const int64_t {place} = {given} < 0 ? {given} + {extent} : {given};")
    w.line(f"const int32_t {name} = (int32_t)({place} < 0 ? 0 : {place} > {last} ? {last} : {place});")


@operator
@dataclass(frozen=True)
class Gather(Operator):
    """Elements of one axis at run-time indices (https://onnx.ai/onnx/operators/onnx__Gather.html).

    Negative indices count from the end. An index outside the axis gives its nearest element; ONNX leaves it undefined.
    """

    name: ClassVar[str] = "Gather"
    axis: int = 0

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> tuple[Operator, tuple[str, ...]]:
        x = node.type()
        axis = node.integer("axis", 0)
        if not -x.rank <= axis < x.rank:
            raise ModelError(f"axis {axis} of {x}", where=node.name)
        axis %= x.rank
        indices = node.constants.get(node.inputs[1])
        if indices is None or node.inputs[0] in node.constants:
            return cls(axis), node.inputs
        extent = x.shape[axis]
        if indices.size and not (-extent <= indices.min() and indices.max() < extent):
            raise ModelError(f"an index lies outside axis {axis} of {x}", where=node.name)
        places = tuple(int(i) % extent for i in indices.reshape(-1))
        if len(_progressions(places)) > MAX_COPIES:
            return cls(axis), node.inputs
        return Take(axis, places, indices.shape), node.inputs[:1]

    def infer(self, inputs: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        x, indices = inputs
        assert x is not None and indices is not None
        shape = (*x.shape[: self.axis], *indices.shape, *x.shape[self.axis + 1 :])
        if x.rank <= self.axis or indices.dtype not in (DType.I32, DType.I64) or (indices.size and not x.size):
            raise ModelError(f"cannot gather {indices} from axis {self.axis} of {x}", where=self.name)
        return (TensorType(shape, x.dtype),)

    def reference(self, *inputs: np.ndarray | None) -> tuple[np.ndarray, ...]:
        x, indices = inputs
        assert x is not None and indices is not None
        extent = x.shape[self.axis]
        return (np.take(x, np.clip(np.where(indices < 0, indices + extent, indices), 0, extent - 1), self.axis),)

    def cost(self, inputs: Sequence[TensorType | None], outputs: Sequence[TensorType]) -> Cost:
        return Cost()

    def tasks(self, inputs: Sequence[TensorType | None], outputs: Sequence[TensorType]) -> int:
        assert inputs[1] is not None
        return inputs[1].size

    def portable(self, w: Writer, inputs: Sequence[Array | None], outputs: Sequence[Array]) -> None:
        (x, indices), (y,) = inputs, outputs
        assert x is not None and indices is not None
        at = [f"j{a}" for a in range(indices.view.rank)]
        rest = [f"i{a}" for a in range(x.view.rank)]
        before, after = rest[: self.axis], rest[self.axis + 1 :]
        loops = [(i, n) for i, n in zip(rest, x.view.shape, strict=True) if i != rest[self.axis]]
        with w.block("for (int32_t task = begin; task < end; ++task)"):
            w.unravel("task", list(zip(at, indices.view.shape, strict=True)))
            write_index(w, rest[self.axis], indices, at, x.view.shape[self.axis])
            with w.nest(loops):
                w.line(f"{y.at(*before, *at, *after)} = {x.at(*rest)};")

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield Case(cls(), (f32(11, 6), np.array([[0, 10, 3], [-1, -11, 7]])), "embedding")
        yield Case(cls(1), (f32(2, 5, 3), np.array(3, np.int32)), "scalar")
        yield Case(cls(1), (f32(2, 1, 3), np.array([0, -1], np.int32)), "one element")
        yield Case(cls(0), (f32(7), np.array([6, 0, -1, 3])), "constant indices")
        yield Case(Take(1, (2,), ()), (f32(2, 5, 3),), "constant scalar")
        yield Case(Take(0, (6, 4, 2), (3,)), (f32(7, 2),), "progression")
        yield Case(Take(1, (0, 1, 4, 4, 2, 3), (2, 3)), (TensorType((2, 5), DType.I8),), "runs")


@dataclass(frozen=True)
class Take(Movement):
    """Gather at indices known at compile time.

    Args:
        places: the indices in row-major order, none negative.
        shape: their shape, which replaces the axis.
    """

    name: ClassVar[str] = "Gather"
    axis: int
    places: tuple[int, ...]
    shape: tuple[int, ...]

    def to_onnx(self) -> tuple[str, dict[str, object], tuple[np.ndarray | None, ...]]:
        return self.name, {"axis": self.axis}, (np.array(self.places, np.int64).reshape(self.shape),)

    def infer(self, inputs: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        (x,) = inputs
        assert x is not None
        fits = x.rank > self.axis and math.prod(self.shape) == len(self.places)
        if not fits or not all(0 <= p < x.shape[self.axis] for p in self.places):
            raise ModelError(f"{self} does not fit {x}", where=self.name)
        return (TensorType((*x.shape[: self.axis], *self.shape, *x.shape[self.axis + 1 :]), x.dtype),)

    def reference(self, *inputs: np.ndarray | None) -> tuple[np.ndarray, ...]:
        (x,) = inputs
        assert x is not None
        return (np.take(x, np.array(self.places, np.int64).reshape(self.shape), self.axis),)

    def _run(self, input: View, start: int, step: int, length: int) -> View:
        starts, shape, steps = [0] * input.rank, list(input.shape), [1] * input.rank
        starts[self.axis], shape[self.axis], steps[self.axis] = start, length, step
        return input.slice(starts, shape, steps)

    def views(self, input: View) -> tuple[View | None, ...]:
        runs = _progressions(self.places)
        if len(runs) != 1:
            return (None,)
        (out,) = self.infer([input.type])
        return (self._run(input, *runs[0]).reshape(out.shape),)

    def copies(self, inputs: Sequence[View], outputs: Sequence[View]) -> Sequence[Copy] | None:
        (x,), (y,) = inputs, outputs
        rows = self.shape[:-1] if len(self.shape) > 1 else ()
        width = self.shape[-1] if self.shape else 1
        copies = []
        for row, at in enumerate(np.ndindex(*rows)):
            done = 0
            for start, step, length in _progressions(self.places[row * width : (row + 1) * width]):
                # The part of the output that this run fills, its indices as one axis.
                axis = self.axis
                own = y.strides[axis : axis + len(self.shape)]
                inner = own[-1] if own else 0
                destination = replace(
                    y,
                    shape=(*y.shape[:axis], length, *y.shape[axis + len(self.shape) :]),
                    strides=(*y.strides[:axis], inner, *y.strides[axis + len(self.shape) :]),
                    offset=y.offset + done * inner + sum(i * s for i, s in zip(at, own, strict=False)),
                )
                copies.append(Copy(0, self._run(x, start, step, length), 0, destination))
                done += length
        return copies


def _progressions(places: Sequence[int]) -> list[tuple[int, int, int]]:
    """Consecutive arithmetic progressions (first, step, length) that make up a sequence, each as long as possible."""
    runs: list[tuple[int, int, int]] = []
    for place in places:
        if runs:
            first, step, length = runs[-1]
            if length == 1 or place == first + length * step:
                runs[-1] = (first, place - first if length == 1 else step, length + 1)
                continue
        runs.append((place, 1, 1))
    return runs
