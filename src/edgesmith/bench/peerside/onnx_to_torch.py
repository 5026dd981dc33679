"""An ONNX model as a PyTorch module, for peers that take nothing else: the operators of convolutional networks.

The module keeps the graph as it is written; fusing and folding is the business of whoever compiles it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as f
from onnx import helper, numpy_helper

Tensors = Sequence[Any]


class OnnxModule(torch.nn.Module):
    """Runs the nodes in order.

    Raises:
        NotImplementedError: the model has an operator that is not translated here.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        super().__init__()
        graph = model.graph
        self._constants: dict[str, Any] = {}
        for i, tensor in enumerate(graph.initializer):
            array = np.array(numpy_helper.to_array(tensor))
            if array.dtype == np.float32 and array.ndim:  # scalars are attributes to PyTorch, such as Clip's bounds
                self.register_parameter(f"w{i}", torch.nn.Parameter(torch.from_numpy(array), requires_grad=False))
                self._constants[tensor.name] = f"w{i}"
            else:
                self._constants[tensor.name] = array
        self.inputs = [v.name for v in graph.input if v.name not in self._constants]
        self._outputs = [v.name for v in graph.output]
        self._steps: list[tuple[Callable[..., Any], list[str], list[str]]] = []
        for node in graph.node:
            if node.op_type not in TRANSLATED:
                raise NotImplementedError(f"operator {node.op_type} is not translated to PyTorch")
            attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            self._steps.append((TRANSLATED[node.op_type](attributes, node), list(node.input), list(node.output)))

    def forward(self, *feeds: torch.Tensor) -> tuple[torch.Tensor, ...]:
        values: dict[str, Any] = dict(zip(self.inputs, feeds, strict=True))

        def value(name: str) -> Any:
            if not name:
                return None
            if name in values:
                return values[name]
            known = self._constants[name]
            if isinstance(known, str):
                return getattr(self, known)
            return known if known.ndim else known.item()

        for call, inputs, outputs in self._steps:
            results = call(*(value(n) for n in inputs))
            values.update(zip(outputs, results if isinstance(results, (tuple, list)) else (results,), strict=False))
        return tuple(values[n] for n in self._outputs)


def _conv(a: dict[str, Any], node: onnx.NodeProto) -> Callable[..., Any]:
    stride, dilation = a.get("strides", 1), a.get("dilations", 1)

    def call(x: Any, w: Any, b: Any = None) -> Any:
        kind = (f.conv1d, f.conv2d, f.conv3d)[x.ndim - 3]
        x, pads = _padded(x, a)
        return kind(x, w, b, stride, pads, dilation, a.get("group", 1))

    return call


def _padded(x: Any, a: dict[str, Any], fill: float = 0.0) -> tuple[Any, list[int]]:
    """The input and the symmetric pads that remain; others are applied here."""
    if a.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        raise NotImplementedError("auto_pad is not translated to PyTorch")
    rank = x.ndim - 2
    pads = list(a.get("pads", [0] * 2 * rank))
    if pads[:rank] == pads[rank:]:
        return x, pads[:rank]
    around = [n for i in reversed(range(rank)) for n in (pads[i], pads[rank + i])]
    return f.pad(x, around, value=fill), [0] * rank


def _max_pool(a: dict[str, Any], node: onnx.NodeProto) -> Callable[..., Any]:
    def call(x: Any) -> Any:
        x, pads = _padded(x, a, float("-inf"))
        kind = (f.max_pool1d, f.max_pool2d, f.max_pool3d)[x.ndim - 3]
        strides = a.get("strides", [1] * (x.ndim - 2))
        return kind(x, a["kernel_shape"], strides, pads, a.get("dilations", 1), bool(a.get("ceil_mode", 0)))

    return call


def _average_pool(a: dict[str, Any], node: onnx.NodeProto) -> Callable[..., Any]:
    def call(x: Any) -> Any:
        if any(a.get("dilations", [1])) and max(a.get("dilations", [1])) > 1:
            raise NotImplementedError("dilated AveragePool is not translated to PyTorch")
        include = bool(a.get("count_include_pad", 0))
        pads = list(a.get("pads", [0] * 2 * (x.ndim - 2)))
        if pads[: x.ndim - 2] != pads[x.ndim - 2 :]:
            raise NotImplementedError("AveragePool with uneven pads is not translated to PyTorch")
        kind = (f.avg_pool1d, f.avg_pool2d, f.avg_pool3d)[x.ndim - 3]
        strides = a.get("strides", [1] * (x.ndim - 2))
        return kind(x, a["kernel_shape"], strides, pads[: x.ndim - 2], bool(a.get("ceil_mode", 0)), include)

    return call


def _gemm(a: dict[str, Any], node: onnx.NodeProto) -> Callable[..., Any]:
    alpha, beta = a.get("alpha", 1.0), a.get("beta", 1.0)

    def call(x: Any, w: Any, c: Any = None) -> Any:
        x = x.t() if a.get("transA") else x
        w = w if a.get("transB") else w.t()
        if alpha == 1.0 and beta == 1.0 and (c is None or c.ndim == 1):
            return f.linear(x, w, c)
        y = alpha * f.linear(x, w)
        return y if c is None else y + beta * c

    return call


def _batch_normalization(a: dict[str, Any], node: onnx.NodeProto) -> Callable[..., Any]:
    return lambda x, s, b, m, v: f.batch_norm(x, m, v, s, b, False, 0.0, a.get("epsilon", 1e-5))


def _reshape(a: dict[str, Any], node: onnx.NodeProto) -> Callable[..., Any]:
    def call(x: Any, shape: Any) -> Any:
        extents = [int(n) for n in shape]
        return x.reshape([x.shape[i] if n == 0 and not a.get("allowzero") else n for i, n in enumerate(extents)])

    return call


def _split(a: dict[str, Any], node: onnx.NodeProto) -> Callable[..., Any]:
    def call(x: Any, sizes: Any = None) -> Any:
        axis = a.get("axis", 0)
        if sizes is None:
            return torch.split(x, -(-x.shape[axis] // len(node.output)), axis)
        return torch.split(x, [int(n) for n in sizes], axis)

    return call


def _clip(a: dict[str, Any], node: onnx.NodeProto) -> Callable[..., Any]:
    def call(x: Any, low: Any = None, high: Any = None) -> Any:
        return torch.clamp(x, a.get("min") if low is None else low, a.get("max") if high is None else high)

    return call


def _mean(a: dict[str, Any], node: onnx.NodeProto) -> Callable[..., Any]:
    def call(x: Any, axes: Any = None) -> Any:
        found = axes if axes is not None else a.get("axes", range(x.ndim))
        return x.mean([int(i) for i in found], keepdim=bool(a.get("keepdims", 1)))

    return call


def _plain(call: Callable[..., Any]) -> Callable[..., Callable[..., Any]]:
    return lambda a, node: call


TRANSLATED: dict[str, Callable[[dict[str, Any], onnx.NodeProto], Callable[..., Any]]] = {
    "Add": _plain(lambda x, y: x + y),
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_normalization,
    "Clip": _clip,
    "Concat": lambda a, node: lambda *xs: torch.cat(xs, a["axis"]),
    "Conv": _conv,
    "Div": _plain(lambda x, y: x / y),
    "Dropout": _plain(lambda x, *_: x),
    "Flatten": lambda a, node: lambda x: x.reshape(int(np.prod(x.shape[: a.get("axis", 1)])), -1),
    "Gemm": _gemm,
    "GlobalAveragePool": _plain(lambda x: x.mean(list(range(2, x.ndim)), keepdim=True)),
    "HardSigmoid": lambda a, node: lambda x: _hard_sigmoid(x, a.get("alpha", 0.2), a.get("beta", 0.5)),
    "HardSwish": _plain(f.hardswish),
    "Identity": _plain(lambda x: x),
    "LRN": lambda a, node: (
        lambda x: f.local_response_norm(x, a["size"], a.get("alpha", 1e-4), a.get("beta", 0.75), a.get("bias", 1.0))
    ),
    "LeakyRelu": lambda a, node: lambda x: f.leaky_relu(x, a.get("alpha", 0.01)),
    "MatMul": _plain(torch.matmul),
    "MaxPool": _max_pool,
    "Mul": _plain(lambda x, y: x * y),
    "ReduceMean": _mean,
    "Relu": _plain(f.relu),
    "Reshape": _reshape,
    "Sigmoid": _plain(torch.sigmoid),
    "Softmax": lambda a, node: lambda x: f.softmax(x, a.get("axis", -1)),
    "Split": _split,
    "Sub": _plain(lambda x, y: x - y),
    "Tanh": _plain(torch.tanh),
    "Transpose": lambda a, node: lambda x: x.permute(a.get("perm", tuple(reversed(range(x.ndim))))),
}


def _hard_sigmoid(x: Any, alpha: float, beta: float) -> Any:
    if abs(alpha - 1 / 6) < 1e-6 and beta == 0.5:
        return f.hardsigmoid(x)
    return torch.clamp(x * alpha + beta, 0.0, 1.0)
