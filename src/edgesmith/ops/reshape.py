"""Reshape, and the operators that are reshapes: Flatten, Squeeze, Unsqueeze."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgesmith.c.writer import Writer
from edgesmith.errors import ModelError
from edgesmith.ir import TensorType, View
from edgesmith.ops.base import OPS, Array, Case, OnnxNode, Operator, f32, operator
from edgesmith.ops.movement import Copy, Movement


def _common_refinement(a: Sequence[int], b: Sequence[int]) -> tuple[int, ...] | None:
    """Extents that both shapes split into without regrouping, or None; (6, 4) and (3, 8) give (3, 2, 4)."""
    result: list[int] = []
    i = j = 0
    left, right = 1, 1
    a, b = [n for n in a if n != 1], [n for n in b if n != 1]
    while i < len(a) or j < len(b) or left != 1 or right != 1:
        if left == 1:
            left, i = a[i], i + 1
        if right == 1:
            right, j = b[j], j + 1
        small, large = min(left, right), max(left, right)
        if large % small:
            return None
        result.append(small)
        left, right = left // small, right // small
    return tuple(result)


@operator
@dataclass(frozen=True)
class Reshape(Movement):
    """The same elements in row-major order under another shape (https://onnx.ai/onnx/operators/onnx__Reshape.html)."""

    name: ClassVar[str] = "Reshape"
    shape: tuple[int, ...]

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> tuple[Operator, tuple[str, ...]]:
        wanted = node.ints(1, "shape")
        if wanted is None:
            raise ModelError("Reshape without a shape", where=node.name)
        given = node.type().shape
        if not node.attributes.get("allowzero", 0):
            if any(n == 0 and a >= len(given) for a, n in enumerate(wanted)):
                raise ModelError(f"shape {wanted} copies an axis that {given} lacks", where=node.name)
            wanted = tuple(given[a] if n == 0 else n for a, n in enumerate(wanted))
        known = math.prod(n for n in wanted if n != -1)
        if -1 in wanted:
            size = math.prod(given)
            if known == 0 or size % known:
                raise ModelError(f"cannot reshape {given} to {wanted}", where=node.name)
            wanted = tuple(size // known if n == -1 else n for n in wanted)
        return cls(wanted), node.inputs[:1]

    def to_onnx(self) -> tuple[str, dict[str, object], tuple[np.ndarray | None, ...]]:
        return self.name, {"allowzero": int(0 in self.shape)}, (np.array(self.shape, np.int64),)

    def infer(self, inputs: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        (x,) = inputs
        assert x is not None
        if math.prod(self.shape) != x.size or min(self.shape, default=0) < 0:
            raise ModelError(f"cannot reshape {x} to {self.shape}", where=self.name)
        return (TensorType(self.shape, x.dtype),)

    def reference(self, *inputs: np.ndarray | None) -> tuple[np.ndarray, ...]:
        assert inputs[0] is not None
        return (inputs[0].reshape(self.shape),)

    def views(self, input: View) -> tuple[View | None, ...]:
        return (input.reshape(self.shape),)

    def copies(self, inputs: Sequence[View], outputs: Sequence[View]) -> Sequence[Copy] | None:
        if inputs[0].size == 0:
            return []
        refined = _common_refinement(inputs[0].shape, outputs[0].shape)
        if refined is None:
            return None
        source, destination = inputs[0].reshape(refined), outputs[0].reshape(refined)
        return None if source is None or destination is None else [Copy(0, source, 0, destination)]

    def portable(self, w: Writer, inputs: Sequence[Array | None], outputs: Sequence[Array]) -> None:
        (x,), (y,) = inputs, outputs
        assert x is not None
        with w.block("if (begin < end)"), w.loop("i", y.view.size):
            w.line(f"{y.at_linear('i')} = {x.at_linear('i')};")

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield Case(cls((2, 60)), (f32(2, 3, 4, 5),))
        yield Case(cls((4, 3, 10)), (f32(2, 6, 10),), "regroup")
        yield Case(cls((3, 2)), (f32(2, 3),), "no-refinement")


class _AsReshape(Reshape):
    """A binding that computes the target shape and yields a Reshape."""

    @classmethod
    def target(cls, node: OnnxNode) -> tuple[int, ...]:
        raise NotImplementedError

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> tuple[Operator, tuple[str, ...]]:
        return Reshape(cls.target(node)), node.inputs[:1]

    @classmethod
    def cases(cls) -> Iterator[Case]:
        return iter(())


@OPS.register("Flatten")
class Flatten(_AsReshape):
    """https://onnx.ai/onnx/operators/onnx__Flatten.html."""

    @classmethod
    def target(cls, node: OnnxNode) -> tuple[int, ...]:
        shape = node.type().shape
        axis = node.integer("axis", 1)
        axis += len(shape) if axis < 0 else 0
        return (math.prod(shape[:axis]), math.prod(shape[axis:]))


@OPS.register("Squeeze")
class Squeeze(_AsReshape):
    """https://onnx.ai/onnx/operators/onnx__Squeeze.html."""

    @classmethod
    def target(cls, node: OnnxNode) -> tuple[int, ...]:
        shape = node.type().shape
        axes = node.ints(1, "axes")
        if axes is None:
            return tuple(n for n in shape if n != 1)
        dropped = {a % len(shape) for a in axes}
        if any(shape[a] != 1 for a in dropped):
            raise ModelError(f"cannot squeeze axes {axes} of {shape}", where=node.name)
        return tuple(n for a, n in enumerate(shape) if a not in dropped)


@OPS.register("Unsqueeze")
class Unsqueeze(_AsReshape):
    """https://onnx.ai/onnx/operators/onnx__Unsqueeze.html."""

    @classmethod
    def target(cls, node: OnnxNode) -> tuple[int, ...]:
        axes = node.ints(1, "axes") or ()
        rank = node.type().rank + len(axes)
        new = {a % rank for a in axes}
        if len(new) != len(axes):
            raise ModelError(f"axes {axes} name one axis twice", where=node.name)
        old = iter(node.type().shape)
        return tuple(1 if a in new else next(old) for a in range(rank))
