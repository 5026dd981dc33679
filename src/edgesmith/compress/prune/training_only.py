"""Layers that run in training alone, such as auxiliary classifiers: what they read stays whole."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from operator import attrgetter
from typing import Any

from torch import fx, nn

from edgesmith.compress.tracing import Traced, trace
from edgesmith.errors import EdgesmithError

__all__ = ["read_in_training"]

_MAKERS = (nn.modules.conv._ConvNd, nn.Linear, nn.Embedding, nn.MultiheadAttention, nn.RNNBase, nn.RNNCellBase)


def read_in_training(traced: Traced, example: Any) -> tuple[dict[str, str], dict[str, str]]:
    """What makes the channels that layers read which evaluation does not run.

    Returns:
        Names of layers and parameters, and why their channels stay; and layers that run in training alone, if so, where
        that cannot be told, and why.
    """
    idle = _idle(traced)
    if not idle:
        return {}, {}
    try:
        graph = trace(copy.deepcopy(traced.module), example, training=True).graph.graph
    except EdgesmithError as error:
        why = str(error).strip().splitlines()[0]
        return {}, dict.fromkeys(sorted(idle), f"evaluation does not run it, and training cannot be traced: {why}")
    found: dict[str, str] = {}
    for node in graph.nodes:
        layer = _owner(node)
        if layer not in idle:
            continue
        readers = [node] if node.op == "call_module" else list(node.users)
        for maker in _makers(traced.module, [n for reader in readers for n in reader.all_input_nodes]):
            if _owner(maker) not in idle:
                found.setdefault(str(maker.target), f"{layer or node.target} reads it in training")
    return found, {}


def _idle(traced: Traced) -> set[str]:
    """Modules with parameters of their own none of which evaluation uses."""
    used: set[int] = set()
    for node in traced.graph.graph.nodes:
        if node.op == "call_module":
            used |= {id(p) for p in traced.graph.get_submodule(str(node.target)).parameters()}
        elif node.op == "get_attr":
            used.add(id(attrgetter(str(node.target))(traced.graph)))
    own = {name: [id(p) for p in part.parameters(recurse=False)] for name, part in traced.module.named_modules()}
    return {name for name, parameters in own.items() if parameters and not used.intersection(parameters)}


def _owner(node: fx.Node) -> str | None:
    """The module that a node calls, or of whose parameter it is the value."""
    if node.op == "get_attr":
        return str(node.target).rpartition(".")[0]
    return str(node.target) if node.op == "call_module" else None


def _makers(module: nn.Module, nodes: list[fx.Node]) -> Iterator[fx.Node]:
    """The layers and parameters whose channels arrive in some nodes."""
    seen: set[fx.Node] = set()
    while nodes:
        node = nodes.pop()
        if node in seen:
            continue
        seen.add(node)
        if node.op == "get_attr" or (
            node.op == "call_module" and isinstance(module.get_submodule(str(node.target)), _MAKERS)
        ):
            yield node
        else:
            nodes += node.all_input_nodes
