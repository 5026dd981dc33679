"""Resize."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from edgesmith.c.expr import literal
from edgesmith.c.writer import Writer
from edgesmith.errors import UnsupportedOp
from edgesmith.ir import Cost, DType, TensorType, View
from edgesmith.ops.base import Array, Case, Layout, OnnxNode, Operator, f32, operator
from edgesmith.ops.fill import stored_literal
from edgesmith.ops.movement import Copy, Movement
from edgesmith.ops.sampling import Sampling

__all__ = ["NearestResize", "Resize"]


@operator
@dataclass(frozen=True)
class Resize(Operator):
    """Linear or cubic interpolation, axis by axis (https://onnx.ai/onnx/operators/onnx__Resize.html)."""

    name: ClassVar[str] = "Resize"
    layout: ClassVar[Layout] = "channels_last"
    sampling: Sampling

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> tuple[Operator, tuple[str, ...]]:
        sampling = Sampling.from_onnx(node)
        return (NearestResize if sampling.mode == "nearest" else cls)(sampling), node.inputs[:1]

    def to_onnx(self) -> tuple[str, dict[str, object], tuple[np.ndarray | None, ...]]:
        return self.name, *self.sampling.to_onnx()

    def infer(self, inputs: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        (x,) = inputs
        assert x is not None
        if x.dtype is not DType.F32 or not x.rank:
            raise UnsupportedOp(f"Resize ({self.sampling.mode}) of {x}")
        return (TensorType(tuple(a.after for a in self.sampling.resolve(x.shape)), x.dtype),)

    def reference(self, *inputs: np.ndarray | None) -> tuple[np.ndarray, ...]:
        (x,) = inputs
        assert x is not None
        y, outside = x.astype(np.float64), np.zeros((), bool)
        for a, axis in enumerate(self.sampling.resolve(x.shape)):
            if axis.is_identity:
                continue
            taps, last = self.sampling.sample(axis), (-1, *(1,) * (x.ndim - 1 - a))
            y = sum(
                np.take(y, taps.places[:, t], a) * taps.weights[:, t].reshape(last) for t in range(taps.places.shape[1])
            )
            outside = outside | ~taps.inside.reshape(last)
        return (np.where(outside, np.float32(self.sampling.extrapolation_value), y.astype(x.dtype)),)

    def cost(self, inputs: Sequence[TensorType | None], outputs: Sequence[TensorType]) -> Cost:
        return Cost(macs=outputs[0].size * self.reduction_length(inputs))

    def reduction_length(self, inputs: Sequence[TensorType | None]) -> int:
        assert inputs[0] is not None
        axes = self.sampling.resolve(inputs[0].shape)
        return int(self.sampling.taps ** sum(not a.is_identity for a in axes))

    def tasks(self, inputs: Sequence[TensorType | None], outputs: Sequence[TensorType]) -> int:
        shape = outputs[0].shape
        return shape[0] * (shape[2] if len(shape) > 3 else 1)

    def portable(self, w: Writer, inputs: Sequence[Array | None], outputs: Sequence[Array]) -> None:
        (x,), (y,) = inputs, outputs
        assert x is not None
        count, rank = self.sampling.taps, x.view.rank
        index, source = [f"o{a}" for a in range(rank)], [f"o{a}" for a in range(rank)]
        conditions, weights, loops = [], [], []
        for a, axis in enumerate(self.sampling.resolve(x.view.shape)):
            if axis.is_identity:
                continue
            taps = self.sampling.sample(axis)
            at = f"o{a} * {count} + t{a}"
            _table(w, "int32_t", f"places{a}", [str(p) for p in taps.places.reshape(-1)])
            _table(w, "float", f"weights{a}", [literal(v, DType.F32) for v in taps.weights.reshape(-1)])
            source[a] = f"places{a}[{at}]"
            weights.append(f"weights{a}[{at}]")
            loops.append((f"t{a}", count))
            if not taps.inside.all():
                _table(w, "uint8_t", f"inside{a}", [str(int(v)) for v in taps.inside])
                conditions.append(f"inside{a}[o{a}]")
            if x.view.shape[a] == 1:
                w.line(f"(void)places{a};")
        outer = [0, 2] if rank > 3 else [0]
        inner = [a for a in y.view.order() if a not in outer]
        value = literal(self.sampling.extrapolation_value, DType.F32)
        with w.block("for (int32_t task = begin; task < end; ++task)"):
            w.unravel("task", [(index[a], y.view.shape[a]) for a in outer])
            with w.nest([(index[a], y.view.shape[a]) for a in inner]):
                w.line("float sum = 0.0f;")
                with w.nest(loops):
                    w.line(f"sum += {' * '.join((*weights, x.at(*source)))};")
                result = f"{' && '.join(conditions)} ? sum : {value}" if conditions else "sum"
                w.line(f"{y.at(*index)} = {result};")

    @classmethod
    def cases(cls) -> Iterator[Case]:
        image, double = f32(1, 5, 4, 6), (1.0, 1.0, 2.0, 2.0)
        for mode in ("half_pixel", "asymmetric", "align_corners"):
            yield Case(cls(Sampling("linear", mode, scales=double)), (image,), f"linear {mode}")
        yield Case(cls(Sampling("linear", sizes=(1, 5, 3, 7))), (image,), "linear down and up")
        yield Case(cls(Sampling("linear", sizes=(6, 4, 5), axes=(2, 3, 4))), (f32(1, 2, 3, 4, 3),), "trilinear")
        yield Case(cls(Sampling("cubic", scales=double)), (image,), "cubic")
        yield Case(cls(Sampling("cubic", scales=double, exclude_outside=1)), (image,), "cubic exclude_outside")
        crop: dict[str, Any] = {"coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 9.0}
        roi = (0.0, 0.0, -0.2, 0.1, 1.0, 1.0, 0.9, 1.3)
        yield Case(cls(Sampling("linear", sizes=(1, 5, 6, 7), roi=roi, **crop)), (image,), "crop")
        floor: dict[str, Any] = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        yield Case(NearestResize(Sampling(scales=double, **floor)), (image,), "nearest repeats")
        yield Case(NearestResize(Sampling(scales=(1, 1, 0.5, 0.5), **floor)), (image,), "nearest strides")
        yield Case(NearestResize(Sampling(sizes=(1, 5, 5, 9))), (image,), "nearest table")
        yield Case(NearestResize(Sampling(sizes=(1, 5, 6, 7), roi=roi, **crop)), (image,), "nearest crop")


@dataclass(frozen=True)
class NearestResize(Movement):
    """Resize that takes the nearest element; repeats and strides where they suffice, otherwise a table of indices."""

    name: ClassVar[str] = "Resize"
    layout: ClassVar[Layout] = "channels_last"
    sampling: Sampling

    def to_onnx(self) -> tuple[str, dict[str, object], tuple[np.ndarray | None, ...]]:
        return self.name, *self.sampling.to_onnx()

    def infer(self, inputs: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        (x,) = inputs
        assert x is not None
        if not x.rank:
            raise UnsupportedOp(f"Resize of {x}")
        return (TensorType(tuple(a.after for a in self.sampling.resolve(x.shape)), x.dtype),)

    def _places(self, shape: Sequence[int]) -> list[np.ndarray]:
        """For each axis the input index of every output, or -1: the extrapolation value."""
        result = []
        for axis in self.sampling.resolve(shape):
            if axis.is_identity:
                result.append(np.arange(axis.before))
            else:
                taps = self.sampling.sample(axis)
                result.append(np.where(taps.inside, taps.places[:, 0], -1))
        return result

    def reference(self, *inputs: np.ndarray | None) -> tuple[np.ndarray, ...]:
        (x,) = inputs
        assert x is not None
        places = self._places(x.shape)
        outside = np.zeros((), bool)
        for a, at in enumerate(places):
            outside = outside | (at < 0).reshape(-1, *(1,) * (x.ndim - 1 - a))
        value = np.asarray(self.sampling.extrapolation_value).astype(x.dtype)
        return (np.where(outside, value, x[np.ix_(*(at.clip(0) for at in places))]),)

    def views(self, input: View) -> tuple[View | None, ...]:
        steps = [_even_steps(at) for at in self._places(input.shape)]
        if None in steps:
            return (None,)
        first, lengths, step = zip(*(s for s in steps if s is not None), strict=True)
        return (input.slice(first, lengths, step),)

    def copies(self, inputs: Sequence[View], outputs: Sequence[View]) -> Sequence[Copy] | None:
        (x,), (y,) = inputs, outputs
        # Each output axis is either one axis of evenly spaced elements or (element, repeat).
        shape: list[int] = []
        source: list[int] = []
        destination: list[int] = []
        offset = x.offset
        for a, at in enumerate(self._places(x.shape)):
            even, repeat = _even_steps(at), _repeats(at, x.shape[a])
            if even is not None:
                first, length, step = even
                offset += first * x.strides[a]
                shape.append(length)
                source.append(step * x.strides[a])
                destination.append(y.strides[a])
            elif repeat is not None:
                shape += (x.shape[a], repeat)
                source += (x.strides[a], 0)
                destination += (repeat * y.strides[a], y.strides[a])
            else:
                return None
        taken = replace(x, shape=tuple(shape), strides=tuple(source), offset=offset)
        return [Copy(0, taken, 0, replace(y, shape=tuple(shape), strides=tuple(destination)))]

    def portable(self, w: Writer, inputs: Sequence[Array | None], outputs: Sequence[Array]) -> None:
        (x,), (y,) = inputs, outputs
        assert x is not None
        if self.copies([x.view], [y.view]) is not None:
            super().portable(w, inputs, outputs)
            return
        index = [f"o{a}" for a in range(y.view.rank)]
        source, conditions = list(index), []
        for a, at in enumerate(self._places(x.view.shape)):
            if np.array_equal(at, np.arange(x.view.shape[a])):
                continue
            outside = at.min() < 0
            if x.view.shape[a] > 1 or outside:
                _table(w, "int32_t", f"places{a}", [str(p) for p in at])
            source[a] = f"places{a}[o{a}]"
            conditions += [f"{source[a]} >= 0"] * bool(outside)
        value = stored_literal(y.view.dtype.numpy.type(self.sampling.extrapolation_value), y.view.dtype)
        condition = f"{' && '.join(conditions)} ? " if conditions else ""
        otherwise = f" : {value}" if conditions else ""
        with w.block("if (begin < end)"), w.nest([(index[a], y.view.shape[a]) for a in y.view.order()]):
            w.line(f"{y.at(*index)} = {condition}{x.at(*source)}{otherwise};")


def _even_steps(at: np.ndarray) -> tuple[int, int, int] | None:
    """(first, length, step) of evenly spaced indices, or None."""
    if at.min() < 0:
        return None
    step = int(at[1] - at[0]) if at.size > 1 else 1
    return (int(at[0]), at.size, step) if np.all(np.diff(at) == step) else None


def _repeats(at: np.ndarray, extent: int) -> int | None:
    """How often each input element in turn occurs, or None."""
    count, rest = divmod(at.size, extent)
    return count if not rest and np.array_equal(at, np.arange(extent).repeat(count)) else None


def _table(w: Writer, kind: str, name: str, values: Sequence[str]) -> None:
    """Write a constant array."""
    w.line(f"static const {kind} {name}[] = {{")
    for i in range(0, len(values), 12):
        w.line(f"    {', '.join(values[i : i + 12])},")
    w.line("};")
