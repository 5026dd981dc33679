"""Conv."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from edgesmith.c.writer import Writer
from edgesmith.errors import ModelError, UnsupportedOp
from edgesmith.ir import Cost, DType, TensorType
from edgesmith.ops.base import Array, Case, Layout, OnnxNode, Operator, f32, operator
from edgesmith.ops.window import Window

__all__ = ["Conv", "convolved_shape", "write_convolution"]


def convolved_shape(where: str, window: Window, group: int, x: TensorType, w: TensorType) -> tuple[int, ...]:
    """Shape of the convolution of x (N, C, *spatial) with w (M, C / group, *kernel); raises ``ModelError``."""
    channels, filters = x.shape[1], w.shape[0]
    fits = group > 0 and channels == w.shape[1] * group and filters % group == 0
    if not fits or w.shape[2:] != window.kernel:
        raise ModelError(f"input {x}, weights {w} and group {group} do not fit", where=where)
    return (x.shape[0], filters, *window.output(x.shape[2:], where))


def write_convolution(
    w: Writer,
    window: Window,
    group: int,
    x: Array,
    weights: Array,
    y: Array,
    start: str,
    product: Callable[[str, str], str],
) -> None:
    """Write the loops of a convolution; a task is one channel ``m`` of the output of one image.

    Args:
        start: C text of the number that the sum of channel ``m`` starts with.
        product: C text of the product of an input element and a weight.
    """
    batch, filters, *out = y.view.shape
    depth, axes = weights.view.shape[1], range(len(out))
    at_output = [f"o{a}" for a in axes]
    with w.block("for (int32_t task = begin; task < end; ++task)"):
        w.unravel("task", (("n", batch), ("m", filters)))
        first = "c" if group == 1 else f"m / {filters // group} * {depth} + c"
        with w.nest(list(zip(at_output, out, strict=True))):
            w.line(f"{y.view.dtype.c} sum = {start};")
            with w.nest([("c", depth), *((f"k{a}", weights.view.shape[2 + a]) for a in axes)]):
                inside = window.write_position(w, x.view.shape[2:], out)
                element = x.at("n", first, *(f"i{a}" for a in axes))
                term = f"sum += {product(element, weights.at('m', 'c', *(f'k{a}' for a in axes)))};"
                w.line(f"if ({inside}) {{ {term} }}" if inside else term)
            w.line(f"{y.at('n', 'm', *at_output)} = sum;")


@operator
@dataclass(frozen=True)
class Conv(Operator):
    """Convolution of (N, C, *spatial) with weights (M, C / group, *kernel) and an optional bias (M,).

    Source: https://onnx.ai/onnx/operators/onnx__Conv.html.
    """

    name: ClassVar[str] = "Conv"
    layout: ClassVar[Layout] = "channels_last"
    window: Window
    group: int = 1

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> tuple[Operator, tuple[str, ...]]:
        weights = node.type(1)
        if weights.rank < 3 or weights.rank != node.type(0).rank:
            raise ModelError(f"input {node.type(0)} and weights {weights} do not fit", where=node.name)
        group = node.integer("group", 1)
        return cls(Window.from_onnx(node, node.type(0).shape[2:], weights.shape[2:]), group), node.inputs

    def to_onnx(self) -> tuple[str, dict[str, object], tuple[np.ndarray | None, ...]]:
        return self.name, {**self.window.to_onnx(), "group": self.group}, ()

    def infer(self, inputs: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        x, w = inputs[0], inputs[1]
        assert x is not None and w is not None
        if x.dtype not in (DType.F32, DType.F64) or w.dtype is not x.dtype:
            raise UnsupportedOp(f"Conv of {x} with {w}")
        shape = convolved_shape(self.name, self.window, self.group, x, w)
        if len(inputs) > 2 and inputs[2] is not None and inputs[2].shape != shape[1:2]:
            raise ModelError(f"bias {inputs[2]} does not fit {shape[1]} filters", where=self.name)
        return (TensorType(shape, x.dtype),)

    def reference(self, *inputs: np.ndarray | None) -> tuple[np.ndarray, ...]:
        x, w, b = (*inputs, None)[:3]
        assert x is not None and w is not None
        c, m = w.shape[1], w.shape[0] // self.group
        y = np.zeros((x.shape[0], w.shape[0], *self.window.output(x.shape[2:], self.name)), x.dtype)
        for tap, taken in self.window.taps(x, self.name):
            for g in range(self.group):
                weights = w[(slice(g * m, (g + 1) * m), slice(None), *tap)]  # type: ignore[arg-type]
                part = taken[:, g * c : (g + 1) * c]
                # As a matrix product where that pays: many times as fast.
                y[:, g * m : (g + 1) * m] += np.einsum("nc...,mc->nm...", part, weights, optimize=c > 1)
        return (y if b is None else y + b.reshape(-1, *(1,) * (x.ndim - 2)),)

    def cost(self, inputs: Sequence[TensorType | None], outputs: Sequence[TensorType]) -> Cost:
        return Cost(macs=outputs[0].size * self.reduction_length(inputs))

    def reduction_length(self, inputs: Sequence[TensorType | None]) -> int:
        assert inputs[1] is not None
        return math.prod(inputs[1].shape[1:])

    def tasks(self, inputs: Sequence[TensorType | None], outputs: Sequence[TensorType]) -> int:
        return outputs[0].shape[0] * outputs[0].shape[1]

    def portable(self, w: Writer, inputs: Sequence[Array | None], outputs: Sequence[Array]) -> None:
        x, k, b = (*inputs, None)[:3]
        (y,) = outputs
        assert x is not None and k is not None
        start = b.at("m") if b else "0"
        write_convolution(w, self.window, self.group, x, k, y, start, lambda element, weight: f"{element} * {weight}")

    @classmethod
    def cases(cls) -> Iterator[Case]:
        def case(name: str, x: tuple[int, ...], filters: int, kernel: int, group: int = 1, **window: Any) -> Case:
            rank = len(x) - 2
            one = (1,) * rank
            given: dict[str, Any] = {
                "strides": one,
                "pads_begin": (0,) * rank,
                "pads_end": (0,) * rank,
                "dilations": one,
                **window,
            }
            op = cls(Window((kernel,) * rank, **given), group)
            weights = np.random.default_rng(7).standard_normal((filters, x[1] // group, *op.window.kernel), np.float32)
            bias = np.random.default_rng(8).standard_normal(filters, np.float32)
            return Case(op, (f32(*x), weights, bias), name)

        yield case("3x3", (1, 3, 9, 11), 5, 3, pads_begin=(1, 1), pads_end=(1, 1))
        yield case("3x3-stride2", (2, 8, 10, 9), 16, 3, strides=(2, 2), pads_begin=(0, 1), pads_end=(1, 1))
        yield case("1x1", (1, 16, 7, 7), 24, 1)
        yield case("1x1-stride2", (1, 12, 9, 9), 33, 1, strides=(2, 2))
        pruned = case("1x1-pruned", (1, 20, 6, 7), 40, 1)
        # Blocks of 16 filters by one channel, of which two in three are zero.
        kept = np.random.default_rng(9).permutation(60).reshape(3, 20).repeat(16, axis=0)[:40] < 20
        x, dense, bias = pruned.inputs
        assert isinstance(dense, np.ndarray)
        yield Case(pruned.op, (x, dense * kept[:, :, None, None], bias), pruned.name)
        yield case("depthwise", (1, 20, 8, 8), 20, 3, 20, pads_begin=(1, 1), pads_end=(1, 1))
        yield case("depthwise-5x5-s2", (1, 33, 9, 8), 33, 5, 33, strides=(2, 2), pads_begin=(2, 2), pads_end=(2, 1))
        yield case("grouped", (1, 8, 6, 6), 12, 3, 4, pads_begin=(1, 1), pads_end=(1, 1))
        yield case("grouped-4", (1, 20, 7, 9), 20, 3, 5, strides=(2, 1), pads_begin=(1, 1), pads_end=(0, 1))
        yield case("dilated", (1, 4, 12, 12), 6, 3, dilations=(2, 3), pads_begin=(2, 3), pads_end=(2, 3))
        yield case("7x7-wide-pad", (1, 3, 5, 5), 4, 7, pads_begin=(4, 3), pads_end=(3, 4))
        yield case("7x7-stride2", (1, 3, 13, 18), 10, 7, strides=(2, 2), pads_begin=(3, 2), pads_end=(3, 3))
        yield case("one-pixel", (1, 3, 1, 1), 2, 3, pads_begin=(1, 1), pads_end=(1, 1))
        yield case("1d", (2, 6, 15), 4, 3, pads_begin=(1,), pads_end=(1,))
        yield case("3d", (1, 2, 5, 6, 7), 3, 3, strides=(1, 2, 1))
