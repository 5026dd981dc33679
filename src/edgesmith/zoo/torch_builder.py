"""The second backend of network descriptions: PyTorch modules and the graph that connects them.

Every method of ``builder.Builder`` that a description calls is here under the same signature; what concerns calibrated
weights (``gain``, ``centre``, ``spread``) has no effect. Shapes come from running layers on PyTorch's "meta" device.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import inf
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx, nn

from edgesmith.errors import BadInput
from edgesmith.zoo.builder import Padding, Value, explicit_pads, pair
from edgesmith.zoo.probe import Pads, Pair

__all__ = ["TorchBuilder"]


def _nested(members: Mapping[str, nn.Module | torch.Tensor]) -> nn.Module:
    """Members at their dotted paths, in their order. One whose path is another's scope holds that as a submodule."""
    root = nn.Module()
    for path, member in members.items():
        *scopes, name = path.split(".")
        parent = root
        for scope in scopes:
            if scope not in dict(parent.named_children()):
                parent.add_module(scope, nn.Module())
            parent = parent.get_submodule(scope)
        if isinstance(member, torch.Tensor):
            parent.register_buffer(name, member)
            continue
        for inner, child in dict(parent.named_children()).get(name, nn.Module()).named_children():
            member.add_module(inner, child)
        parent.add_module(name, member)
    return root


class TorchBuilder:
    """Collects the modules of one network, and a ``torch.fx`` graph that calls them.

    A layer with weights is called as in ONNX: what reads ``features.3.expand.conv.weight`` there is the module
    ``features.3.expand.conv``. Modules without weights are called after their method, as ``features.3.expand.relu6``.

    Args:
        name: the network's name, for messages.
        undone: how much of the network's reduction of pictures is left out. Strides become 1 from the input on, in all
            branches alike, until that much is missing; pools that would have done nothing else are left out.
    """

    def __init__(self, name: str, undone: int = 1) -> None:
        self._name, self._undone = name, undone
        self._scopes: list[str] = []
        self._graph = fx.Graph()
        self._members: dict[str, nn.Module | torch.Tensor] = {}
        self._nodes: dict[str, fx.Node] = {}
        self._reductions: dict[str, Pair] = {}

    @property
    def reduction(self) -> int:
        """Pixels of the input for one of the coarsest picture, by the strides of the description."""
        return max(max(reduction) for reduction in self._reductions.values())

    # -- names, modules, nodes ---------------------------------------------------------------------------------------

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Prefix the names of the layers built inside with ``name``."""
        self._scopes.append(name)
        yield
        self._scopes.pop()

    def _path(self, name: str) -> str:
        base = path = ".".join([*self._scopes, name])
        copy = 0
        while path in self._members:
            copy += 1
            path = f"{base}_{copy}"
        return path

    def _value(self, node: fx.Node, shape: Sequence[int], reduction: Pair) -> Value:
        self._nodes[node.name], self._reductions[node.name] = node, reduction
        return Value(node.name, tuple(shape))

    def _reduction(self, *values: Value) -> Pair:
        rows, columns = zip(*(self._reductions[v.name] for v in values), strict=True)
        return max(rows), max(columns)

    def _shape(self, what: str, compute: Callable[..., torch.Tensor], *values: Value) -> torch.Size:
        try:
            with torch.no_grad():
                return compute(*(torch.empty(v.shape, device="meta") for v in values)).shape
        except RuntimeError as error:
            raise BadInput(
                f"{what} does not accept inputs of {' and '.join(str(v.shape) for v in values)}: {error}",
                where=f"zoo network {self._name!r}",
                hint="Choose a larger image_size, or one that every halving divides evenly, such as a multiple of 32.",
            ) from None

    def _layer(
        self,
        name: str,
        kind: Callable[..., nn.Module],
        x: Value,
        *arguments: Any,
        to: Pair | None = None,
        **options: Any,
    ) -> Value:
        """Add the module ``kind(*arguments, **options)``; ``to`` is the reduction of its output where it changes."""
        path, layer = self._module(name, kind, *arguments, **options)
        shape = self._shape(path, layer, x)
        node = self._graph.call_module(path, (self._nodes[x.name],))
        return self._value(node, shape, to or self._reduction(x))

    def _pointwise(self, name: str, kind: Callable[..., nn.Module], x: Value, *arguments: Any, **options: Any) -> Value:
        """Add a module that keeps the shape of its input."""
        path, _ = self._module(name, kind, *arguments, **options)
        return self._value(self._graph.call_module(path, (self._nodes[x.name],)), x.shape, self._reduction(x))

    def _module(
        self, name: str, kind: Callable[..., nn.Module], *arguments: Any, **options: Any
    ) -> tuple[str, nn.Module]:
        path = self._path(name)
        with torch.device("meta"):
            layer = self._members[path] = kind(*arguments, **options)
        return path, layer

    def _function(self, target: Callable[..., Any], *arguments: Any) -> Value:
        """Add a call of ``target``; values may be among the arguments, and in lists."""
        values: list[Value] = []

        def to_node(argument: Any) -> Any:
            if isinstance(argument, list):
                return [to_node(a) for a in argument]
            if isinstance(argument, Value):
                values.append(argument)
                return self._nodes[argument.name]
            return argument

        node = self._graph.call_function(target, tuple(to_node(a) for a in arguments))

        def compute(*tensors: torch.Tensor) -> Any:
            known = {self._nodes[v.name]: t for v, t in zip(values, tensors, strict=True)}
            return target(*fx.node.map_arg(node.args, lambda n: known[n]))

        where = ".".join([*self._scopes, getattr(target, "__name__", "call")])
        return self._value(node, self._shape(where, compute, *values), self._reduction(*values))

    def _method(self, name: str, x: Value, *arguments: Any) -> Value:
        node = self._graph.call_method(name, (self._nodes[x.name], *arguments))
        shape = self._shape(name, lambda t: getattr(t, name)(*arguments), x)
        return self._value(node, shape, self._reduction(x))

    def _strided(self, x: Value, stride: Pair) -> tuple[Pair, Pair]:
        """What remains of ``stride`` on ``x``, and the output's reduction by the description."""
        before = self._reductions[x.name]
        after = before[0] * stride[0], before[1] * stride[1]
        rows, columns = (
            max(a // self._undone, 1) // max(b // self._undone, 1) for a, b in zip(after, before, strict=True)
        )
        return (rows, columns), after

    def _enlarged(self, x: Value, factor: int) -> Pair:
        if self._undone > 1:
            raise BadInput(
                "it enlarges its pictures again by what its strides reduced them",
                where=f"zoo network {self._name!r}",
                hint="Leave reduction out, and choose another image_size.",
            )
        rows, columns = self._reductions[x.name]
        return max(rows // factor, 1), max(columns // factor, 1)

    def _padded(self, x: Value, pads: Pads, fill: float) -> tuple[Value, Pair]:
        """``x`` with what padding is not the same on opposite sides, and the padding that the layer is to add."""
        top, left, bottom, right = pads
        if (top, left) == (bottom, right):
            return x, (top, left)
        sides = (left, right, top, bottom)
        if fill == 0.0:
            return self._layer("pad", nn.ZeroPad2d, x, sides), (0, 0)
        return self._layer("pad", nn.ConstantPad2d, x, sides, fill), (0, 0)

    # -- inputs and the finished module ------------------------------------------------------------------------------

    def input(self, name: str, shape: tuple[int, ...]) -> Value:
        """The network's input (N, C, H, W)."""
        return self._value(self._graph.placeholder(name), shape, (1, 1))

    def module(self, outputs: Mapping[str, Value], class_name: str) -> fx.GraphModule:
        """The network, on the "meta" device: it returns its output, or a dict of several by name. Ends the building."""
        nodes = {name: self._nodes[value.name] for name, value in outputs.items()}
        self._graph.output(nodes if len(nodes) > 1 else next(iter(nodes.values())))
        self._graph.lint()
        return fx.GraphModule(_nested(self._members), self._graph, class_name).train()

    # -- layers with weights -----------------------------------------------------------------------------------------

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
        kernel = pair(kernel)
        stride, after = self._strided(x, pair(stride))
        x, pads = self._padded(x, explicit_pads(padding, x.size, kernel, stride, dilation), 0.0)
        return self._layer(
            name, nn.Conv2d, x, x.channels, channels, kernel, stride=stride, padding=pads, dilation=dilation,
            groups=groups, bias=bias, to=after,
        )  # fmt: skip

    def conv_transpose(self, x: Value, channels: int, factor: int, *, name: str = "up") -> Value:
        to = self._enlarged(x, factor)
        return self._layer(name, nn.ConvTranspose2d, x, x.channels, channels, factor, stride=factor, to=to)

    def fc(self, x: Value, features: int, *, gain: float = 1.0, name: str = "fc") -> Value:
        return self._layer(name, nn.Linear, x, x.shape[1], features)

    def batch_norm(self, x: Value, *, spread: float = 1.0, epsilon: float = 1e-5, name: str = "bn") -> Value:
        kind = nn.BatchNorm2d if len(x.shape) == 4 else nn.BatchNorm1d
        return self._pointwise(name, kind, x, x.channels, eps=epsilon)

    def prelu(self, x: Value, *, name: str = "prelu") -> Value:
        return self._pointwise(name, nn.PReLU, x, x.channels)

    # -- activations -------------------------------------------------------------------------------------------------

    def relu(self, x: Value) -> Value:
        return self._pointwise("relu", nn.ReLU, x)

    def relu6(self, x: Value) -> Value:
        return self._pointwise("relu6", nn.ReLU6, x)

    def leaky_relu(self, x: Value, slope: float = 0.1) -> Value:
        return self._pointwise("leaky_relu", nn.LeakyReLU, x, slope)

    def tanh(self, x: Value) -> Value:
        return self._pointwise("tanh", nn.Tanh, x)

    def sigmoid(self, x: Value) -> Value:
        return self._pointwise("sigmoid", nn.Sigmoid, x)

    def swish(self, x: Value) -> Value:
        return self._pointwise("swish", nn.SiLU, x)

    def hard_sigmoid(self, x: Value) -> Value:
        return self._pointwise("hard_sigmoid", nn.Hardsigmoid, x)

    def hard_swish(self, x: Value) -> Value:
        return self._pointwise("hard_swish", nn.Hardswish, x)

    def exp(self, x: Value) -> Value:
        return self._function(torch.exp, x)

    def softmax(self, x: Value) -> Value:
        return self._pointwise("softmax", nn.Softmax, x, dim=-1)

    def lrn(self, x: Value, *, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0) -> Value:
        return self._pointwise("lrn", nn.LocalResponseNorm, x, size, alpha, beta, bias)

    # -- pooling and resizing ----------------------------------------------------------------------------------------

    def max_pool(self, x: Value, kernel: int, stride: int, *, padding: Padding = 0, ceil: bool = False) -> Value:
        kept, after = self._strided(x, (stride, stride))
        if kept == (1, 1) and stride > 1:
            return self._left_out(x, after)
        x, pads = self._padded(x, explicit_pads(padding, x.size, (kernel, kernel), kept), -inf)
        return self._layer("max_pool", nn.MaxPool2d, x, kernel, kept, pads, ceil_mode=ceil, to=after)

    def avg_pool(self, x: Value, kernel: int, stride: int, *, padding: Padding = 0, include_pad: bool = True) -> Value:
        kept, after = self._strided(x, (stride, stride))
        if kept == (1, 1) and stride > 1:
            return self._left_out(x, after)
        pads = explicit_pads(padding, x.size, (kernel, kernel), kept)
        if pads[:2] != pads[2:]:
            raise ValueError(f"an average over padding {pads}")
        return self._layer(
            "avg_pool", nn.AvgPool2d, x, kernel, kept, pads[:2], count_include_pad=include_pad, to=after
        )  # fmt: skip

    def _left_out(self, x: Value, after: Pair) -> Value:
        return self._layer("no_pool", nn.Identity, x, to=after)

    def global_avg_pool(self, x: Value) -> Value:
        return self._layer("global_avg_pool", nn.AdaptiveAvgPool2d, x, 1)

    def resize(self, x: Value, factor: int, *, mode: str = "nearest") -> Value:
        to = self._enlarged(x, factor)
        if mode == "nearest":
            return self._layer("resize", nn.Upsample, x, scale_factor=factor, mode="nearest", to=to)
        return self._layer("resize", nn.Upsample, x, scale_factor=factor, mode="bilinear", align_corners=False, to=to)

    # -- combining and rearranging -----------------------------------------------------------------------------------

    def add(self, a: Value, b: Value) -> Value:
        return self._function(operator.add, a, b)

    def sub(self, a: Value, b: Value) -> Value:
        return self._function(operator.sub, a, b)

    def mul(self, a: Value, b: Value) -> Value:
        return self._function(operator.mul, a, b)

    def concat(self, values: Sequence[Value], axis: int = 1) -> Value:
        return self._function(torch.cat, list(values), axis)

    def split(self, x: Value, sizes: Sequence[int], axis: int = 1) -> list[Value]:
        parts = self._graph.call_function(torch.split, (self._nodes[x.name], list(sizes), axis))
        axis %= len(x.shape)
        shapes = [(*x.shape[:axis], size, *x.shape[axis + 1 :]) for size in sizes]
        nodes = [self._graph.call_function(operator.getitem, (parts, i)) for i in range(len(shapes))]
        return [self._value(node, shape, self._reduction(x)) for node, shape in zip(nodes, shapes, strict=True)]

    def take_channels(self, x: Value, count: int) -> Value:
        return self._function(operator.getitem, x, (slice(None), slice(count)))

    def reshape(self, x: Value, shape: tuple[int, ...], compute: Callable[..., Any] | None = None) -> Value:
        """Reshape within each picture of the batch."""
        if shape[0] != x.shape[0]:
            raise ValueError(f"reshape {x.shape} to {shape} mixes the pictures of a batch")
        return self._method("reshape", x, -1, *shape[1:])

    def transpose(self, x: Value, order: tuple[int, ...]) -> Value:
        return self._method("permute", x, *order)

    def channel_shuffle(self, x: Value, groups: int) -> Value:
        y = self._method("unflatten", x, 1, (groups, x.channels // groups))
        return self._method("flatten", self._method("transpose", y, 1, 2), 1, 2)

    def flatten(self, x: Value) -> Value:
        return self._method("flatten", x, 1)

    def constant(self, name: str, data: NDArray[np.float32]) -> Value:
        """A buffer of the module, which unlike weights holds its numbers already.

        A name that ``nn.Module`` has itself, such as ``half``, gets an underscore.
        """
        path = self._path(f"{name}_" if hasattr(nn.Module, name) else name)
        self._members[path] = torch.from_numpy(data.copy())
        return self._value(self._graph.get_attr(path), data.shape, (1, 1))
