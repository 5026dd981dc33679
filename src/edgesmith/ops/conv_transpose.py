"""ConvTranspose."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from edgesmith.c.writer import Writer
from edgesmith.errors import ModelError, UnsupportedOp
from edgesmith.ir import Cost, DType, TensorType
from edgesmith.ops.base import Array, Case, Layout, OnnxNode, Operator, f32, operator
from edgesmith.ops.window import Window


@operator
@dataclass(frozen=True)
class ConvTranspose(Operator):
    """Transposed convolution of (N, C, *spatial) with weights (C, M / group, *kernel) and an optional bias (M,).

    Input element i meets tap k at output ``i * stride + k * dilation - pad``. ``output_padding`` adds elements at the
    end of each axis; a requested ``output_shape`` is expressed by pads and output padding.
    Source: https://onnx.ai/onnx/operators/onnx__ConvTranspose.html.
    """

    name: ClassVar[str] = "ConvTranspose"
    layout: ClassVar[Layout] = "channels_last"
    window: Window
    output_padding: tuple[int, ...]
    group: int = 1

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> tuple[Operator, tuple[str, ...]]:
        weights, spatial = node.type(1), node.type(0).shape[2:]
        if weights.rank < 3 or weights.rank != node.type(0).rank:
            raise ModelError(f"input {node.type(0)} and weights {weights} do not fit", where=node.name)
        rank = len(spatial)
        attributes = {**node.attributes, "auto_pad": "NOTSET"}
        window = Window.from_onnx(replace(node, attributes=attributes), spatial, weights.shape[2:])
        extra = node.integers("output_padding", (0,) * rank)
        wanted = node.integers("output_shape")[-rank:]
        auto_pad = node.attributes.get("auto_pad", "NOTSET")
        if len(extra) != rank or min(extra) < 0 or len(wanted) not in (0, rank) or min(wanted, default=1) < 1:
            raise ModelError(f"output_padding {extra} or output_shape {wanted} does not fit", where=node.name)
        full = [
            (n - 1) * s + (k - 1) * d + 1 + e
            for n, s, k, d, e in zip(spatial, window.strides, window.kernel, window.dilations, extra, strict=True)
        ]
        if not wanted and auto_pad in ("SAME_UPPER", "SAME_LOWER"):
            wanted = tuple(min(f, n * s) for f, n, s in zip(full, spatial, window.strides, strict=True))
        if wanted:
            total = [max(0, f - n) for f, n in zip(full, wanted, strict=True)]
            small, large = tuple(t // 2 for t in total), tuple(t - t // 2 for t in total)
            begin, end = (small, large) if auto_pad == "SAME_UPPER" else (large, small)
            window = replace(window, pads_begin=begin, pads_end=end)
            extra = tuple(e + n - (f - t) for e, n, f, t in zip(extra, wanted, full, total, strict=True))
        elif auto_pad == "VALID":
            window = replace(window, pads_begin=(0,) * rank, pads_end=(0,) * rank)
        return cls(window, extra, node.integer("group", 1)), node.inputs

    def to_onnx(self) -> tuple[str, dict[str, object], tuple[np.ndarray | None, ...]]:
        attributes = {**self.window.to_onnx(), "output_padding": list(self.output_padding), "group": self.group}
        return self.name, attributes, ()

    def infer(self, inputs: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        x, w = inputs[0], inputs[1]
        assert x is not None and w is not None
        if x.dtype not in (DType.F32, DType.F64) or w.dtype is not x.dtype:
            raise UnsupportedOp(f"ConvTranspose of {x} with {w}")
        fits = self.group > 0 and x.shape[1] == w.shape[0] and w.shape[0] % self.group == 0
        if not fits or w.shape[2:] != self.window.kernel:
            raise ModelError(f"input {x}, weights {w} and group {self.group} do not fit", where=self.name)
        filters = w.shape[1] * self.group
        if len(inputs) > 2 and inputs[2] is not None and inputs[2].shape != (filters,):
            raise ModelError(f"bias {inputs[2]} does not fit {filters} filters", where=self.name)
        return (TensorType((x.shape[0], filters, *self._output(x.shape[2:])), x.dtype),)

    def _output(self, spatial: Sequence[int]) -> tuple[int, ...]:
        window = self.window
        extents = tuple(
            (n - 1) * s + (k - 1) * d + 1 + e - b - a
            for n, s, k, d, e, b, a in zip(
                spatial,
                window.strides,
                window.kernel,
                window.dilations,
                self.output_padding,
                window.pads_begin,
                window.pads_end,
                strict=True,
            )
        )
        if min(extents) < 1:
            raise ModelError(f"input {tuple(spatial)} gives the output extents {extents}", where=self.name)
        return extents

    def reference(self, *inputs: np.ndarray | None) -> tuple[np.ndarray, ...]:
        x, w, b = (*inputs, None)[:3]
        assert x is not None and w is not None
        window, out = self.window, self._output(x.shape[2:])
        c, m = w.shape[0] // self.group, w.shape[1]
        axes = list(zip(x.shape[2:], window.strides, window.kernel, window.dilations, window.pads_begin, strict=True))
        room = [max((n - 1) * s + (k - 1) * d + 1, p + o) for (n, s, k, d, p), o in zip(axes, out, strict=True)]
        full = np.zeros((x.shape[0], self.group * m, *room), x.dtype)
        for tap in np.ndindex(*window.kernel):
            region = [slice(t * d, t * d + (n - 1) * s + 1, s) for t, (n, s, _, d, _) in zip(tap, axes, strict=True)]
            for g in range(self.group):
                weights = w[(slice(g * c, (g + 1) * c), slice(None), *tap)]
                full[(slice(None), slice(g * m, (g + 1) * m), *region)] += np.einsum(
                    "nc...,cm->nm...", x[:, g * c : (g + 1) * c], weights
                )
        kept = [slice(p, p + o) for p, o in zip(window.pads_begin, out, strict=True)]
        y = full[(slice(None), slice(None), *kept)]
        return ((y if b is None else y + b.reshape(-1, *(1,) * len(out))).copy(),)

    def cost(self, inputs: Sequence[TensorType | None], outputs: Sequence[TensorType]) -> Cost:
        assert inputs[0] is not None and inputs[1] is not None
        return Cost(macs=inputs[0].size * math.prod(inputs[1].shape[1:]))

    def reduction_length(self, inputs: Sequence[TensorType | None]) -> int:
        assert inputs[1] is not None
        window = self.window
        # Only taps whose distance is a multiple of the stride meet the same output.
        taps = [
            -(-k // (s // math.gcd(s, d)))
            for k, s, d in zip(window.kernel, window.strides, window.dilations, strict=True)
        ]
        return inputs[1].shape[0] // self.group * math.prod(taps)

    def tasks(self, inputs: Sequence[TensorType | None], outputs: Sequence[TensorType]) -> int:
        return outputs[0].shape[0] * outputs[0].shape[1]

    def portable(self, w: Writer, inputs: Sequence[Array | None], outputs: Sequence[Array]) -> None:
        x, k, b = (*inputs, None)[:3]
        (y,) = outputs
        assert x is not None and k is not None
        batch, filters, *out = y.view.shape
        depth, own = k.view.shape[0] // self.group, k.view.shape[1]
        axes = range(len(out))
        at_output, window = [f"o{a}" for a in axes], self.window
        channel = "c" if self.group == 1 else f"m / {own} * {depth} + c"
        with w.block("for (int32_t task = begin; task < end; ++task)"):
            w.unravel("task", (("n", batch), ("m", filters)))
            with w.nest(list(zip(at_output, out, strict=True))):
                w.line(f"{y.view.dtype.c} sum = {b.at('m') if b else '0'};")
                with w.nest([("c", depth), *((f"k{a}", k.view.shape[2 + a]) for a in axes)]):
                    conditions = []
                    for a in axes:
                        s = window.strides[a]
                        w.line(f"const int32_t t{a} = o{a} + {window.pads_begin[a]} - k{a} * {window.dilations[a]};")
                        conditions += [f"t{a} >= 0", f"t{a} < {x.view.shape[2 + a] * s}"]
                        conditions += [f"t{a} % {s} == 0"] * (s > 1)
                    element = x.at("n", channel, *(f"t{a} / {window.strides[a]}" for a in axes))
                    weight = k.at(channel, "m" if self.group == 1 else f"m % {own}", *(f"k{a}" for a in axes))
                    w.line(f"if ({' && '.join(conditions)}) {{ sum += {element} * {weight}; }}")
                w.line(f"{y.at('n', 'm', *at_output)} = sum;")

    @classmethod
    def cases(cls) -> Iterator[Case]:
        def case(
            name: str,
            x: tuple[int, ...],
            filters: int,
            kernel: int,
            *,
            group: int = 1,
            extra: int = 0,
            **window: Any,
        ) -> Case:
            rank = len(x) - 2
            one, zero = (1,) * rank, (0,) * rank
            given: dict[str, Any] = {"strides": one, "pads_begin": zero, "pads_end": zero, "dilations": one, **window}
            op = cls(Window((kernel,) * rank, **given), (extra,) * rank, group)
            weights = np.random.default_rng(5).standard_normal((x[1], filters // group, *op.window.kernel), np.float32)
            bias = np.random.default_rng(6).standard_normal(filters, np.float32)
            return Case(op, (f32(*x), weights, bias), name)

        yield case("2x2-stride2", (1, 6, 5, 7), 4, 2, strides=(2, 2))
        yield case("3x3-stride2-pad", (2, 4, 5, 4), 3, 3, extra=1, strides=(2, 2), pads_begin=(1, 1), pads_end=(1, 1))
        yield case("grouped", (1, 6, 4, 4), 9, 3, group=3)
        yield case("depthwise", (1, 5, 6, 6), 5, 4, group=5, strides=(2, 2), pads_begin=(1, 1), pads_end=(1, 1))
        yield case("dilated", (1, 3, 5, 5), 2, 3, dilations=(2, 3), strides=(3, 2), pads_begin=(0, 2), pads_end=(1, 0))
        yield case("one-pixel", (1, 4, 1, 1), 3, 4)
        yield case("1d", (2, 3, 7), 4, 5, strides=(3,), pads_begin=(2,), pads_end=(1,))
        yield case("3d", (1, 2, 3, 2, 4), 3, 2, strides=(2, 1, 2))
