"""A torch.fx graph as values that can be pickled, however long the graph is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import fx

__all__ = ["StoredGraph", "restored", "stored"]


@dataclass(frozen=True)
class _Name:
    """Stands for a node among arguments."""

    name: str


@dataclass(frozen=True)
class StoredGraph:
    """The nodes of a graph, in order: name, kind, target, arguments."""

    nodes: tuple[tuple[str, str, Any, Any, Any], ...]


def stored(graph: fx.Graph) -> StoredGraph:
    def name_of(node: fx.Node) -> Any:
        return _Name(node.name)

    def named(arguments: Any) -> Any:
        return fx.node.map_arg(arguments, name_of)

    return StoredGraph(tuple((n.name, n.op, n.target, named(n.args), named(dict(n.kwargs))) for n in graph.nodes))


def restored(given: StoredGraph) -> fx.Graph:
    """The same graph: nodes have the names that they had."""
    graph = fx.Graph()
    nodes: dict[str, fx.Node] = {}

    def node_of(value: Any) -> Any:
        return nodes[value.name] if isinstance(value, _Name) else value

    for name, kind, target, args, kwargs in given.nodes:
        args, kwargs = (fx.node.map_aggregate(part, node_of) for part in (args, kwargs))
        node = graph.create_node(kind, target, args, kwargs, name)
        assert node.name == name
        nodes[name] = node
    return graph
