"""Changed arguments in a traced graph as data: what a pruned shape needs where code states sizes as numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import fx, nn

from edgesmith.compress.tracing import CONSTANT

__all__ = ["Code", "difference", "recoded"]

Code = Mapping[str, Mapping[str, Any]]
"""Node to its new arguments, as JSON: nodes as ``{"node": name}``, slices and tuples likewise."""


def difference(before: fx.Graph, after: fx.Graph) -> dict[str, dict[str, Any]]:
    """The nodes whose arguments differ between two graphs of the same nodes; where none does, the output.

    So that there is a record of a graph that stands for code which would take another way.
    """
    found: dict[str, dict[str, Any]] = {}
    for old, new in zip(before.nodes, after.nodes, strict=True):
        arguments = {"args": _encoded(new.args), "kwargs": _encoded(dict(new.kwargs))}
        split = old.op == "call_method" and new.op == "call_function"
        same = not split and arguments == {"args": _encoded(old.args), "kwargs": _encoded(dict(old.kwargs))}
        if not same or (old.op == "output" and not found):
            found[old.name] = {**arguments, "split": split}
    return found


def recoded(traced: fx.GraphModule, pruned: nn.Module, code: Code) -> fx.GraphModule:
    """The traced graph with changed arguments, over the layers of a pruned module."""
    graph = fx.Graph()
    mapping: dict[fx.Node, fx.Node] = {}
    result = graph.graph_copy(traced.graph, mapping)
    graph.output(result)
    by_name = {old.name: new for old, new in mapping.items()}
    for old, new in mapping.items():
        new.meta = dict(old.meta)
        change = code.get(old.name)
        if change is not None:
            new.args, new.kwargs = _decoded(change["args"], by_name), _decoded(change["kwargs"], by_name)
            if change["split"]:
                new.op, new.target = "call_function", torch.split
    for name, constant in traced.named_buffers(recurse=False):
        if name.startswith(CONSTANT) and not hasattr(pruned, name):
            setattr(pruned, name, constant)
    graph.lint()
    return fx.GraphModule(pruned, graph, type(traced).__name__)


def _encoded(value: Any) -> Any:
    if isinstance(value, fx.Node):
        return {"node": value.name}
    if isinstance(value, slice):
        return {"slice": [_encoded(v) for v in (value.start, value.stop, value.step)]}
    if isinstance(value, tuple):
        return {"tuple": [_encoded(v) for v in value]}
    if isinstance(value, list):
        return [_encoded(v) for v in value]
    if isinstance(value, dict):
        return {"dict": {k: _encoded(v) for k, v in value.items()}}
    if value is Ellipsis:
        return {"ellipsis": True}
    return value if value is None or isinstance(value, (bool, int, float, str)) else {"other": repr(value)}


def _decoded(value: Any, nodes: Mapping[str, fx.Node]) -> Any:
    if isinstance(value, list):
        return [_decoded(v, nodes) for v in value]
    if not isinstance(value, dict):
        return value
    kind, inner = next(iter(value.items()))
    if kind == "node":
        return nodes[inner]
    if kind == "ellipsis":
        return Ellipsis
    if kind == "dict":
        return {k: _decoded(v, nodes) for k, v in inner.items()}
    items = [_decoded(v, nodes) for v in inner]
    return slice(*items) if kind == "slice" else tuple(items)
