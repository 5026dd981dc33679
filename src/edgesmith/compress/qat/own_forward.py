"""Layers whose code does more than their convolution or product, as operations around a plain layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as functional
from torch import Tensor, fx, nn

from edgesmith.compress.qat.folding import PRODUCTS, Product
from edgesmith.compress.tracing import Shape, trace
from edgesmith.errors import EdgesmithError

__all__ = ["follow_own_forwards"]

_ARGUMENTS = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
_FUNCTIONS: Mapping[Callable[..., Tensor], type[Product]] = {
    functional.conv1d: nn.Conv1d,
    functional.conv2d: nn.Conv2d,
    functional.conv3d: nn.Conv3d,
    functional.linear: nn.Linear,
}


def follow_own_forwards(network: fx.GraphModule) -> None:
    """Let the graph of a traced network follow the code of layers' subclasses, and of padding by other than zeros.

    A convolution that pads in a way of its own (timm's ``Conv2dSame``, ``padding_mode="circular"``) becomes that
    padding, and at its path a plain convolution with the same parameters. Layers that use their weights in another way
    than by one call of a function stay as they are.
    """
    layers = {path: part for path, part in network.named_modules() if _has_code(part)}
    calls = [node for node in network.graph.nodes if node.op == "call_module" and node.target in layers]
    found = {node: _body(layers[node.target], node) for node in calls}
    unknown = {node.target for node, body in found.items() if body is None}
    for node, body in found.items():
        if body is not None and node.target not in unknown:
            _inline(network, node, body)
    network.recompile()


@dataclass(frozen=True)
class _Body:
    """What a layer's code does: ``product`` is the call with its weights in ``graph``."""

    graph: fx.Graph
    product: fx.Node
    layer: Product


def _has_code(layer: nn.Module) -> bool:
    if not isinstance(layer, PRODUCTS) or "weight" not in layer._parameters or layer._forward_pre_hooks:
        return False
    pads = not isinstance(layer, nn.Linear) and layer.padding_mode != "zeros"
    return not layer._forward_hooks and (type(layer) not in PRODUCTS or pads)


def _body(layer: nn.Module, node: fx.Node) -> _Body | None:
    value = node.args[0].meta["value"] if len(node.args) == 1 and isinstance(node.args[0], fx.Node) else None
    if not isinstance(value, Shape) or node.kwargs:
        return None
    weight = layer._parameters["weight"]
    assert weight is not None
    try:
        graph = trace(layer, torch.zeros(value.sizes, dtype=value.dtype, device=weight.device)).graph.graph
    except EdgesmithError:
        return None
    _write_out_sizes(graph)
    products = [n for n in graph.nodes if n.target in _FUNCTIONS]
    others = [n for n in graph.nodes if n.op == "call_module" or n.meta.get("writes") is not None]
    if len(products) != 1 or others:
        return None
    (product,) = products
    given = _arguments(product)
    parameters = {n.target: n for n in graph.nodes if n.op == "get_attr"}
    if any(list(n.users) != [product] or n is not given.get(name) for name, n in parameters.items()):
        return None
    if "weight" not in parameters or (given.get("bias") is not None and "bias" not in parameters):
        return None
    if any(isinstance(given.get(name), fx.Node) for name in _ARGUMENTS[3:]):
        return None
    return _Body(graph, product, _plain(layer, _FUNCTIONS[product.target], given))


def _write_out_sizes(graph: fx.Graph) -> None:
    """Write what the code asks parameters for, such as the size of a kernel, as numbers."""
    fixed = {n for n in graph.nodes if n.op == "get_attr"}
    for node in graph.nodes:
        is_fixed = node.op.startswith("call_") and node.all_input_nodes and fixed.issuperset(node.all_input_nodes)
        if is_fixed and not _holds_tensors(node.meta["value"]):
            fixed.add(node)
    for node in fixed:
        if node.op != "get_attr":

            def literal(argument: fx.Node, node: fx.Node = node) -> Any:
                return node.meta["value"] if argument is node else argument

            for user in list(node.users):
                user.args = fx.node.map_arg(user.args, literal)
                user.kwargs = fx.node.map_arg(user.kwargs, literal)
    graph.eliminate_dead_code()


def _holds_tensors(value: Any) -> bool:
    return isinstance(value, Shape) or (isinstance(value, tuple | list) and any(map(_holds_tensors, value)))


def _arguments(product: fx.Node) -> dict[str, Any]:
    return {**dict(zip(_ARGUMENTS, product.args, strict=False)), **product.kwargs}


def _plain(layer: nn.Module, kind: type[Product], given: Mapping[str, Any]) -> Product:
    """A layer of PyTorch's own with the same parameters."""
    weight, has_bias = layer._parameters["weight"], given.get("bias") is not None
    assert weight is not None
    if kind is nn.Linear:
        made: Product = nn.Linear(weight.shape[1], weight.shape[0], has_bias, device="meta")
    else:
        options: dict[str, Any] = {name: given[name] for name in _ARGUMENTS[3:] if name in given}
        channels, kernel = weight.shape[1] * options.get("groups", 1), tuple(weight.shape[2:])
        convolution = cast(Callable[..., Product], kind)
        made = convolution(channels, weight.shape[0], kernel, **options, bias=has_bias, device="meta")
    made._parameters = {"weight": weight, "bias": layer._parameters["bias"] if has_bias else None}
    return made.train(layer.training)


def _inline(network: fx.GraphModule, call: fx.Node, body: _Body) -> None:
    """Put a layer's code in the place of its call."""
    graph, path = network.graph, str(call.target)
    known: dict[fx.Node, Any] = {}
    with graph.inserting_before(call):
        for node in body.graph.nodes:
            if node.op == "placeholder":
                known[node] = call.args[0]
            elif node is body.product:
                made = graph.call_module(path, (known[_arguments(node)["input"]],))
                made.meta, known[node] = dict(node.meta), made
            elif node.op == "output":
                call.replace_all_uses_with(known[cast(fx.Node, node.args[0])])
            elif node.op != "get_attr":
                known[node] = graph.node_copy(node, known.__getitem__)
    graph.erase_node(call)
    network.set_submodule(path, body.layer)
