"""Pad."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgesmith.c.writer import Writer
from edgesmith.errors import ModelError, UnsupportedOp
from edgesmith.ir import DType, TensorType, View
from edgesmith.ops.base import Array, Case, Layout, OnnxNode, Operator, f32, operator
from edgesmith.ops.fill import stored_literal
from edgesmith.ops.movement import Copy, Movement

_MODES = ("constant", "reflect", "edge", "wrap")


@operator
@dataclass(frozen=True)
class Pad(Movement):
    """Elements added before and after each axis; a negative number removes them, before anything is added.

    Args:
        begin, end: elements added per axis.
        mode: ``constant``, ``reflect`` (without repeating the border), ``edge`` or ``wrap``.
        value: the constant, of the input's element type; None: 0.

    Source: https://onnx.ai/onnx/operators/onnx__Pad.html.
    """

    name: ClassVar[str] = "Pad"
    layout: ClassVar[Layout] = "like_input"
    begin: tuple[int, ...]
    end: tuple[int, ...]
    mode: str = "constant"
    value: np.generic | None = None

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> tuple[Operator, tuple[str, ...]]:
        rank = node.type().rank
        pads = node.ints(1, "pads") or ()
        axes = node.ints(3, "axes")
        axes = tuple(range(rank)) if axes is None else axes
        named = {a % rank for a in axes if -rank <= a < rank}
        if len(named) != len(axes) or len(pads) != 2 * len(axes):
            raise ModelError(f"pads {pads} and axes {axes} do not fit {node.type()}", where=node.name)
        begin, end = [0] * rank, [0] * rank
        for axis, before, after in zip(axes, pads[: len(axes)], pads[len(axes) :], strict=True):
            begin[axis], end[axis] = before, after
        value = node.operand(2, "constant_value")
        mode = str(node.attributes.get("mode", "constant"))
        return cls(tuple(begin), tuple(end), mode, None if value is None else value.reshape(-1)[0]), node.inputs[:1]

    def to_onnx(self) -> tuple[str, dict[str, object], tuple[np.ndarray | None, ...]]:
        pads = np.array([*self.begin, *self.end], np.int64)
        return self.name, {"mode": self.mode}, (pads, None if self.value is None else np.asarray(self.value))

    def infer(self, inputs: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        (x,) = inputs
        assert x is not None
        typed = self.value is None or self.value.dtype == x.dtype.numpy
        if self.mode not in _MODES or len(self.begin) != x.rank or not typed:
            raise ModelError(f"{self} does not fit {x}", where=self.name)
        shape = []
        for n, (first, before, kept, after) in zip(x.shape, self._axes(x.shape), strict=True):
            if kept < 0 or first > n:
                raise ModelError(f"{self} removes more than there is of {x}", where=self.name)
            if (before or after) and self.mode != "constant" and kept == 0:
                raise ModelError(f"{self} has nothing to repeat in {x}", where=self.name)
            if self.mode == "reflect" and max(before, after) >= kept > 0 and (before or after):
                raise UnsupportedOp(f"Pad: reflection of {kept} elements gives fewer than {max(before, after)}")
            shape.append(before + kept + after)
        return (TensorType(tuple(shape), x.dtype),)

    def _axes(self, shape: Sequence[int]) -> list[tuple[int, int, int, int]]:
        """For each axis the first element kept, elements added before, elements kept, elements added after."""
        return [
            (max(-b, 0), max(b, 0), n + min(b, 0) + min(e, 0), max(e, 0))
            for n, b, e in zip(shape, self.begin, self.end, strict=True)
        ]

    def reference(self, *inputs: np.ndarray | None) -> tuple[np.ndarray, ...]:
        (x,) = inputs
        assert x is not None
        axes = self._axes(x.shape)
        kept = x[tuple(slice(first, first + n) for first, _, n, _ in axes)]
        pads = [(before, after) for _, before, _, after in axes]
        if self.mode == "constant":
            return (np.pad(kept, pads, constant_values=x.dtype.type(self.value or 0)),)
        return (np.pad(kept, pads, mode=self.mode).copy(),)  # type: ignore[call-overload]

    def views(self, input: View) -> tuple[View | None, ...]:
        axes = self._axes(input.shape)
        if any(before or after for _, before, _, after in axes):
            return (None,)
        return (input.slice([first for first, *_ in axes], [n for _, _, n, _ in axes]),)

    def copies(self, inputs: Sequence[View], outputs: Sequence[View]) -> Sequence[Copy] | None:
        if None not in self.views(inputs[0]):
            return super().copies(inputs, outputs)
        if self.mode == "constant":
            return None
        pieces = [list(self._pieces(*axis)) for axis in self._axes(inputs[0].shape)]
        result = []
        for block in itertools.product(*pieces):
            lengths = [n for _, _, n, _ in block]
            source = inputs[0].slice([p[0] for p in block], lengths, [p[1] for p in block])
            result.append(Copy(0, source, 0, outputs[0].slice([p[3] for p in block], lengths)))
        return result

    def _pieces(self, first: int, before: int, kept: int, after: int) -> Iterator[tuple[int, int, int, int]]:
        """Runs of an output axis: (first input element, step, length, first output element)."""
        last = first + kept - 1
        if self.mode == "wrap":
            position = -before
            while position < kept + after:
                length = min(kept - position % kept, kept + after - position)
                yield first + position % kept, 1, length, position + before
                position += length
            return
        step = -1 if self.mode == "reflect" else 0
        if before:
            yield (first + before if step else first), step, before, 0
        yield first, 1, kept, before
        if after:
            yield (last - 1 if step else last), step, after, before + kept

    def portable(self, w: Writer, inputs: Sequence[Array | None], outputs: Sequence[Array]) -> None:
        (x,), (y,) = inputs, outputs
        assert x is not None
        if self.copies([x.view], [y.view]) is not None:
            super().portable(w, inputs, outputs)
            return
        axes = self._axes(x.view.shape)
        index = [f"o{a}" for a in range(y.view.rank)]
        conditions, source = [], []
        for o, (first, before, kept, after) in zip(index, axes, strict=True):
            conditions += [f"{o} >= {before}"] * (before > 0) + [f"{o} < {before + kept}"] * (after > 0)
            source.append(f"{o} + {first - before}" if first != before else o)
        value = stored_literal(self.value or 0, y.view.dtype)
        with w.block("if (begin < end)"), w.nest([(index[a], y.view.shape[a]) for a in y.view.order()]):
            w.line(f"{y.at(*index)} = {' && '.join(conditions)} ? {x.at(*source)} : {value};")

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield Case(cls((0, 0, 1, 2), (0, 0, 3, 0)), (f32(1, 3, 4, 5),), "constant")
        yield Case(cls((0, 0, 1, 1), (0, 0, 2, 1), "reflect"), (f32(1, 2, 4, 3),), "reflect")
        yield Case(cls((0, 3), (2, 0), "edge"), (f32(3, 2),), "edge")
        yield Case(cls((2, 1), (1, 0), "wrap"), (f32(3, 2),), "wrap")
        yield Case(cls((-1, 0), (0, -2)), (f32(3, 5),), "crop")
        yield Case(cls((-1, 1), (2, -2)), (f32(3, 5),), "crop and pad")
        yield Case(cls((1,), (1,), value=np.float16(1.5)), (TensorType((4,), DType.F16),), "f16")
