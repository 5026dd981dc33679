"""A network description's view of the world: layers with shapes, written as ONNX nodes with seeded weights.

A description calls the methods of ``Builder`` and never sees ONNX, so another backend only has to offer the same
methods. Layout is NCHW throughout. Names follow PyTorch's exporter: ``/features.3/conv/Conv`` is the node that reads
``features.3.conv.weight``.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edgesmith.errors import BadInput
from edgesmith.zoo import probe
from edgesmith.zoo.probe import Array, Pads, Pair

__all__ = ["IR_VERSION", "OPSET", "Builder", "Padding", "Value", "explicit_pads", "pair"]

OPSET = 21
IR_VERSION = 10
PROBE_BATCH = 4

MEAN_REMOVED = 0.25
"""Share of a channel's mean that batch normalisation removes. Removing all of it would make an untrained network
chaotic: rounding errors would grow from layer to layer (arXiv:1902.08129)."""

VARIANCE_FLOOR = 0.25
"""The least variance of a channel, as a share of the layer's mean variance: what the small batch hardly excites is not
blown up. Likewise for a whole layer, as a share of its mean square."""

Padding = str | int | Pads
"""``"half"``: k // 2 on every side; ``"same"``: TensorFlow's SAME, the odd pixel after; an int; or all four sides."""


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor in the network: its name, its shape, and the calibration batch there (None where no layer needs it)."""

    name: str
    shape: tuple[int, ...]
    probe: Array | None = field(default=None, repr=False, compare=False)

    @property
    def channels(self) -> int:
        return self.shape[1]

    @property
    def size(self) -> Pair:
        """Height and width in pixels."""
        return self.shape[2], self.shape[3]

    @property
    def batch(self) -> Array:
        """The calibration batch, for a layer that fits its weights to it."""
        if self.probe is None:
            raise ValueError(f"{self.name} has no calibration batch: layers with weights come before reshape")
        return self.probe


def pair(value: int | Pair) -> Pair:
    """Height and width from one number for both, or from two."""
    return (value, value) if isinstance(value, int) else value


def _same(size: int, kernel: int, stride: int, dilation: int) -> Pair:
    total = max((-(-size // stride) - 1) * stride + dilation * (kernel - 1) + 1 - size, 0)
    return total // 2, total - total // 2


def explicit_pads(padding: Padding, size: Pair, kernel: Pair, stride: Pair, dilation: int = 1) -> Pads:
    """Pixels before and after an input of ``size`` (H, W): top, left, bottom, right."""
    if padding == "half":
        rows, columns = (dilation * (k - 1) // 2 for k in kernel)
        return rows, columns, rows, columns
    if padding == "same":
        (top, bottom), (left, right) = (_same(*axis, dilation) for axis in zip(size, kernel, stride, strict=True))
        return top, left, bottom, right
    if isinstance(padding, int):
        return padding, padding, padding, padding
    if isinstance(padding, str):
        raise ValueError(f"padding {padding!r}")
    return padding


class Builder:
    """Collects the nodes and weights of one network.

    Args:
        name: the network's name, stored as the graph's name.
        seed: decides every weight; each layer draws from its own PCG64 stream, keyed by its name.
    """

    def __init__(self, name: str, seed: int) -> None:
        self._name, self._seed = name, seed
        self._scopes: list[str] = []
        self._model = onnx.ModelProto(ir_version=IR_VERSION, producer_name="edgesmith.zoo")
        self._model.opset_import.append(helper.make_opsetid("", OPSET))
        self._graph = self._model.graph  # filled in place: weights are large, and every helper of onnx copies them
        self._graph.name = name
        self._constants: set[str] = set()
        self._node_names: set[str] = set()

    # -- names, constants, nodes -------------------------------------------------------------------------------------

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Prefix the names of the layers built inside with ``name``."""
        self._scopes.append(name)
        yield
        self._scopes.pop()

    def _stream(self, *parts: str) -> np.random.Generator:
        key = zlib.crc32(".".join([*self._scopes, *parts]).encode())
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence([self._seed, key])))

    def _constant(self, name: str, data: NDArray[Any]) -> str:
        full = ".".join([*self._scopes, name])
        if full in self._constants:
            raise ValueError(f"two constants are called {full!r}")
        return self._shared(full, data)

    def _shared(self, name: str, data: NDArray[Any]) -> str:
        if name not in self._constants:
            self._constants.add(name)
            tensor = self._graph.initializer.add()
            tensor.name, tensor.data_type = name, helper.np_dtype_to_tensor_dtype(data.dtype)
            tensor.dims.extend(data.shape)
            tensor.raw_data = data.astype(data.dtype.newbyteorder("<"), copy=False).tobytes()
        return name

    def _node(
        self,
        op_type: str,
        inputs: Sequence[Value | str],
        shapes: Sequence[tuple[int, ...]],
        compute: Callable[..., Any] | None,
        *,
        name: str = "",
        **attributes: Any,
    ) -> list[Value]:
        base = "/" + "/".join([*self._scopes, *([name] if name else []), op_type])
        full, copy = base, 0
        while full in self._node_names:
            copy += 1
            full = f"{base}_{copy}"
        self._node_names.add(full)
        outputs = [f"{full}_output_{i}" for i in range(len(shapes))]
        arguments = [i.name if isinstance(i, Value) else i for i in inputs]
        self._graph.node.append(helper.make_node(op_type, arguments, outputs, name=full, **attributes))
        for shape in shapes:
            if min(shape) < 1:
                raise BadInput(
                    f"the input of {full} is too small: its output would be {shape}",
                    where=f"zoo network {self._name!r}",
                    hint="Choose a larger image_size.",
                )
        probes = [i.probe for i in inputs if isinstance(i, Value)]
        results: Sequence[Array | None] = [None] * len(shapes)
        if compute is not None and all(p is not None for p in probes):
            computed = compute(*probes)
            results = computed if isinstance(computed, list) else [computed]
        return [Value(o, s, p) for o, s, p in zip(outputs, shapes, results, strict=True)]

    def _pointwise(
        self, op_type: str, x: Value, compute: Callable[[Array], Array], *extra: str, **attributes: Any
    ) -> Value:
        return self._node(op_type, [x, *extra], [x.shape], compute, **attributes)[0]

    # -- inputs and the finished model -------------------------------------------------------------------------------

    def input(self, name: str, shape: tuple[int, ...], probe_size: int) -> Value:
        """The network's input; its calibration batch is ``probe_size`` pixels high and wide whatever ``shape`` says."""
        pictures = probe.images(self._stream(name), (PROBE_BATCH, shape[1], probe_size, probe_size))
        self._graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        return Value(name, shape, pictures)

    def model(self, outputs: Mapping[str, Value]) -> onnx.ModelProto:
        """The ONNX model whose graph outputs are ``outputs``, under these names. Ends the building."""
        renamed = {value.name: name for name, value in outputs.items()}
        for node in self._graph.node:
            for names in (node.input, node.output):
                names[:] = [renamed.get(n, n) for n in names]
        for name, value in outputs.items():
            self._graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape))
        return self._model

    # -- layers with weights -----------------------------------------------------------------------------------------

    def _he(self, name: str, shape: tuple[int, ...], fan_in: int) -> NDArray[np.float32]:
        weight = self._stream(name, "weight").standard_normal(shape, dtype=np.float32)
        weight *= np.float32(np.sqrt(2.0 / fan_in))
        return weight

    def _fit(
        self, name: str, weight: NDArray[np.float32], y: Array, *, centre: bool = True, gain: float = 1.0
    ) -> tuple[str, str, Array]:
        """Scale ``weight`` to an output deviation of ``gain`` and choose the bias to suit (LSUV, arXiv:1511.06422)."""
        channels, per_channel = y.shape[1], (1, -1) + (1,) * (y.ndim - 2)
        mean = y.mean(axis=(0, *range(2, y.ndim))) if centre else np.zeros(channels)
        variance = max(np.mean((y - mean.reshape(per_channel)) ** 2), VARIANCE_FLOOR * np.mean(y**2))
        scale = float(probe.round_bits(np.array(gain / np.sqrt(variance))))
        weight *= np.float32(scale)
        noise = 0.1 * self._stream(name, "bias").standard_normal(channels)
        bias = (noise - probe.round_mean(mean * scale, 1.0)).astype(np.float32)
        names = self._constant(f"{name}.weight", weight), self._constant(f"{name}.bias", bias)
        return *names, y * scale + bias.astype(np.float64).reshape(per_channel)

    def conv(
        self,
        x: Value,
        channels: int,
        kernel: int | Pair,
        *,
        stride: int | Pair = 1,
        padding: Padding = "half",
        groups: int = 1,
        dilation: int = 1,
        bias: bool = True,
        centre: bool = True,
        gain: float = 1.0,
        name: str = "conv",
    ) -> Value:
        """Convolution; a bias comes with an output deviation of ``gain`` and, with ``centre``, a mean near zero."""
        kernel, stride = pair(kernel), pair(stride)
        pads = explicit_pads(padding, x.size, kernel, stride, dilation)
        size = (
            probe.window_count(x.size[0], kernel[0], stride[0], pads[0] + pads[2], dilation),
            probe.window_count(x.size[1], kernel[1], stride[1], pads[1] + pads[3], dilation),
        )
        fan_in = x.channels // groups * kernel[0] * kernel[1]
        weight = self._he(name, (channels, x.channels // groups, *kernel), fan_in)
        picture = probe.resample(x.batch, kernel) if size == (1, 1) and kernel == x.size else x.batch
        pads_probe = explicit_pads(padding, (picture.shape[2], picture.shape[3]), kernel, stride, dilation)
        y = probe.conv(picture, weight.astype(np.float64), stride, pads_probe, groups, dilation)
        if bias:
            *constants, y = self._fit(name, weight, y, centre=centre, gain=gain)
        else:
            constants = [self._constant(f"{name}.weight", weight)]
        return self._node(
            "Conv", [x, *constants], [(x.shape[0], channels, *size)], lambda _: y, name=name,
            kernel_shape=kernel, strides=stride, pads=pads, group=groups, dilations=(dilation, dilation),
        )[0]  # fmt: skip

    def conv_transpose(self, x: Value, channels: int, factor: int, *, name: str = "up") -> Value:
        """Transposed convolution that enlarges by ``factor``: kernel and stride are equal, so blocks do not overlap."""
        weight = self._he(name, (x.channels, channels, factor, factor), x.channels)
        y = probe.conv_transpose(x.batch, weight.astype(np.float64))
        *constants, y = self._fit(name, weight, y)
        shape = (x.shape[0], channels, x.size[0] * factor, x.size[1] * factor)
        return self._node(
            "ConvTranspose", [x, *constants], [shape], lambda _: y, name=name,
            kernel_shape=(factor, factor), strides=(factor, factor),
        )[0]  # fmt: skip

    def fc(self, x: Value, features: int, *, gain: float = 1.0, name: str = "fc") -> Value:
        """Fully connected layer on a (N, K) value; its output has a deviation of ``gain`` and a mean near zero."""
        inner = x.shape[1]
        weight = self._he(name, (features, inner), inner)
        y = np.asarray(np.einsum("nk,ok->no", x.batch, weight, dtype=np.float64))
        *constants, y = self._fit(name, weight, y, gain=gain)
        return self._node("Gemm", [x, *constants], [(x.shape[0], features)], lambda _: y, name=name, transB=1)[0]

    def batch_norm(self, x: Value, *, spread: float = 1.0, epsilon: float = 1e-5, name: str = "bn") -> Value:
        """Inference batch normalisation to a deviation of ``spread``, by the statistics of the calibration batch."""
        rng = self._stream(name)
        gamma = spread * (1.0 + 0.1 * rng.standard_normal(x.channels))
        beta = 0.1 * rng.standard_normal(x.channels)
        inner = (0, *range(2, x.batch.ndim))
        mean = x.batch.mean(axis=inner)
        squared = x.batch.var(axis=inner) + ((1.0 - MEAN_REMOVED) * mean) ** 2
        variance = probe.round_bits(np.maximum(squared, VARIANCE_FLOOR * squared.mean()))
        mean = probe.round_mean(MEAN_REMOVED * mean, np.sqrt(variance))
        parameters = {"weight": gamma, "bias": beta, "running_mean": mean, "running_var": variance}
        constants = [self._constant(f"{name}.{k}", v.astype(np.float32)) for k, v in parameters.items()]

        def normalise(batch: Array) -> Array:
            scale = gamma / np.sqrt(variance + epsilon)
            per_channel = (-1,) + (1,) * (batch.ndim - 2)
            return batch * scale.reshape(per_channel) + (beta - mean * scale).reshape(per_channel)

        return self._pointwise("BatchNormalization", x, normalise, *constants, name=name, epsilon=epsilon)

    def prelu(self, x: Value, *, name: str = "prelu") -> Value:
        """Leaky ReLU with one learned slope a channel, around 0.25."""
        slope = (0.25 + 0.05 * self._stream(name).standard_normal((x.channels, 1, 1))).astype(np.float32)
        constant = self._constant(f"{name}.weight", slope)
        return self._pointwise("PRelu", x, lambda v: np.where(v < 0, v * slope, v), constant, name=name)

    # -- activations -------------------------------------------------------------------------------------------------

    def relu(self, x: Value) -> Value:
        return self._pointwise("Relu", x, lambda v: np.maximum(v, 0.0))

    def relu6(self, x: Value) -> Value:
        low, high = (self._shared(f"relu6.{k}", np.array(v, np.float32)) for k, v in (("min", 0), ("max", 6)))
        return self._pointwise("Clip", x, lambda v: np.clip(v, 0.0, 6.0), low, high)

    def leaky_relu(self, x: Value, slope: float = 0.1) -> Value:
        return self._pointwise("LeakyRelu", x, lambda v: np.where(v < 0, slope * v, v), alpha=slope)

    def tanh(self, x: Value) -> Value:
        return self._pointwise("Tanh", x, np.tanh)

    def sigmoid(self, x: Value) -> Value:
        return self._pointwise("Sigmoid", x, lambda v: 1.0 / (1.0 + np.exp(-v)))

    def swish(self, x: Value) -> Value:
        """x * sigmoid(x), as two nodes."""
        return self.mul(x, self.sigmoid(x))

    def hard_sigmoid(self, x: Value) -> Value:
        """relu6(x + 3) / 6."""
        return self._pointwise("HardSigmoid", x, lambda v: np.clip(v / 6.0 + 0.5, 0.0, 1.0), alpha=1.0 / 6.0, beta=0.5)

    def hard_swish(self, x: Value) -> Value:
        return self._pointwise("HardSwish", x, lambda v: v * np.clip(v / 6.0 + 0.5, 0.0, 1.0))

    def exp(self, x: Value) -> Value:
        return self._pointwise("Exp", x, np.exp)

    def softmax(self, x: Value) -> Value:
        """Softmax over the last axis."""
        return self._node("Softmax", [x], [x.shape], None, axis=-1)[0]

    def lrn(self, x: Value, *, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0) -> Value:
        """Local response normalisation across channels."""

        def normalise(batch: Array) -> Array:
            return probe.lrn(batch, size, alpha, beta, bias)

        return self._pointwise("LRN", x, normalise, size=size, alpha=alpha, beta=beta, bias=bias)

    # -- pooling and resizing ----------------------------------------------------------------------------------------

    def _pooled(self, x: Value, kernel: int, stride: int, pads: Pads, ceil: bool) -> tuple[int, ...]:
        rows = probe.window_count(x.size[0], kernel, stride, pads[0] + pads[2], ceil=ceil)
        columns = probe.window_count(x.size[1], kernel, stride, pads[1] + pads[3], ceil=ceil)
        return (*x.shape[:2], rows, columns)

    def max_pool(self, x: Value, kernel: int, stride: int, *, padding: Padding = 0, ceil: bool = False) -> Value:
        pads = explicit_pads(padding, x.size, (kernel, kernel), (stride, stride))
        shape = self._pooled(x, kernel, stride, pads, ceil)
        return self._node(
            "MaxPool", [x], [shape], lambda v: probe.max_pool(v, kernel, stride, pads, ceil),
            kernel_shape=(kernel, kernel), strides=(stride, stride), pads=pads, ceil_mode=int(ceil),
        )[0]  # fmt: skip

    def avg_pool(self, x: Value, kernel: int, stride: int, *, padding: Padding = 0, include_pad: bool = True) -> Value:
        pads = explicit_pads(padding, x.size, (kernel, kernel), (stride, stride))
        shape = self._pooled(x, kernel, stride, pads, ceil=False)
        return self._node(
            "AveragePool", [x], [shape], lambda v: probe.average_pool(v, kernel, stride, pads, include_pad),
            kernel_shape=(kernel, kernel), strides=(stride, stride), pads=pads, count_include_pad=int(include_pad),
        )[0]  # fmt: skip

    def global_avg_pool(self, x: Value) -> Value:
        shape = (*x.shape[:2], 1, 1)
        return self._node("GlobalAveragePool", [x], [shape], lambda v: v.mean(axis=(2, 3), keepdims=True))[0]

    def resize(self, x: Value, factor: int, *, mode: str = "nearest") -> Value:
        """Enlarge by an integer factor; ``mode`` is "nearest" or "linear" (bilinear, half-pixel centres)."""
        scales = self._shared(f"resize.scales_{factor}", np.array([1, 1, factor, factor], np.float32))
        shape = (*x.shape[:2], x.size[0] * factor, x.size[1] * factor)
        rounding = {"nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
        attributes = rounding if mode == "nearest" else {"coordinate_transformation_mode": "half_pixel"}
        enlarge = np.ones((factor, factor))
        return self._node("Resize", [x, "", scales], [shape], lambda v: np.kron(v, enlarge), mode=mode, **attributes)[0]

    # -- combining and rearranging -----------------------------------------------------------------------------------

    def _binary(self, op_type: str, a: Value, b: Value, compute: Callable[[Array, Array], Array]) -> Value:
        try:
            shape = np.broadcast_shapes(a.shape, b.shape)
        except ValueError:
            raise self._mismatch(op_type, [a, b]) from None
        return self._node(op_type, [a, b], [shape], compute)[0]

    def _mismatch(self, op_type: str, values: Sequence[Value]) -> BadInput:
        return BadInput(
            f"{op_type} of {' and '.join(str(v.shape) for v in values)} in {'/'.join(self._scopes) or 'the graph'}",
            where=f"zoo network {self._name!r}",
            hint="Choose an image_size that every halving divides evenly, such as a multiple of 32.",
        )

    def add(self, a: Value, b: Value) -> Value:
        return self._binary("Add", a, b, np.add)

    def sub(self, a: Value, b: Value) -> Value:
        return self._binary("Sub", a, b, np.subtract)

    def mul(self, a: Value, b: Value) -> Value:
        return self._binary("Mul", a, b, np.multiply)

    def concat(self, values: Sequence[Value], axis: int = 1) -> Value:
        first = values[0].shape
        axis %= len(first)
        if any((*v.shape[:axis], *v.shape[axis + 1 :]) != (*first[:axis], *first[axis + 1 :]) for v in values):
            raise self._mismatch("Concat", values)
        shape = (*first[:axis], sum(v.shape[axis] for v in values), *first[axis + 1 :])
        return self._node("Concat", values, [shape], lambda *v: np.concatenate(v, axis=axis), axis=axis)[0]

    def split(self, x: Value, sizes: Sequence[int], axis: int = 1) -> list[Value]:
        axis %= len(x.shape)
        text = "_".join(map(str, sizes))
        constant = self._shared(f"split.{text}", np.array(sizes, np.int64))
        shapes = [(*x.shape[:axis], size, *x.shape[axis + 1 :]) for size in sizes]
        cuts = np.cumsum(sizes)[:-1]
        return self._node("Split", [x, constant], shapes, lambda v: list(np.split(v, cuts, axis=axis)), axis=axis)

    def take_channels(self, x: Value, count: int) -> Value:
        """The first ``count`` channels (ONNX Slice)."""
        bounds = {"starts": 0, f"ends_{count}": count, "axes": 1}
        constants = [self._shared(f"slice.{k}", np.array([v], np.int64)) for k, v in bounds.items()]
        return self._node("Slice", [x, *constants], [(x.shape[0], count, *x.shape[2:])], lambda v: v[:, :count])[0]

    def reshape(self, x: Value, shape: tuple[int, ...], compute: Callable[[Array], Array] | None = None) -> Value:
        """Reshape; without ``compute`` the calibration batch ends here, as it has other sizes than ``x``."""
        if prod(shape) != prod(x.shape):
            raise ValueError(f"reshape {x.shape} to {shape}")
        constant = self._shared("shape." + "_".join(map(str, shape)), np.array(shape, np.int64))
        return self._node("Reshape", [x, constant], [shape], compute)[0]

    def transpose(self, x: Value, order: tuple[int, ...]) -> Value:
        shape = tuple(x.shape[i] for i in order)
        return self._node("Transpose", [x], [shape], lambda v: v.transpose(order), perm=order)[0]

    def channel_shuffle(self, x: Value, groups: int) -> Value:
        """Interleave ``groups`` groups of channels: Reshape, Transpose, Reshape."""

        def grouped(v: Array) -> Array:
            return v.reshape(v.shape[0], groups, -1, *v.shape[2:])

        y = self.reshape(x, (x.shape[0], groups, x.channels // groups, *x.size), grouped)
        y = self.transpose(y, (0, 2, 1, 3, 4))
        return self.reshape(y, x.shape, lambda v: v.reshape(v.shape[0], -1, *v.shape[3:]))

    def flatten(self, x: Value) -> Value:
        shape = (x.shape[0], prod(x.shape[1:]))
        return self._node("Flatten", [x], [shape], lambda v: probe.resample(v, x.size).reshape(len(v), -1), axis=1)[0]

    def constant(self, name: str, data: NDArray[np.float32]) -> Value:
        """A tensor that is part of the network, such as anchor boxes."""
        return Value(self._constant(name, data), data.shape)
