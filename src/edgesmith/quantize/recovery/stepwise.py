"""A graph run over some samples node by node, while what comes later may still change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from edgesmith.export import to_onnx
from edgesmith.ir import Graph, Node
from edgesmith.oracle import Oracle

__all__ = ["Stepwise"]


class Stepwise:
    """Values of a graph for all samples at once, each node computed once; what nobody needs any more is dropped.

    Args:
        feeds: inputs of the graph, sample by sample.
        optimized: see ``Runner``.
    """

    def __init__(self, feeds: Iterable[Mapping[str, np.ndarray]], *, optimized: bool) -> None:
        self._values = [dict(f) for f in feeds]
        self._done: set[str] = set()
        self._optimized = optimized

    def value(self, graph: Graph, name: str) -> list[np.ndarray]:
        """A value for each sample.

        Args:
            graph: the same from call to call, but for nodes that have not been computed yet.
        """
        known = set(self._values[0])
        if name not in known:
            nodes = _needed(graph, name, known)
            self._done.update(n.name for n in nodes)
            self._run(graph, nodes, name)
        found = [values[name] for values in self._values]
        waiting = {v for n in graph.nodes if n.name not in self._done for v in n.read}
        for values in self._values:
            for unused in set(values) - waiting:
                del values[unused]
        return found

    def _run(self, graph: Graph, nodes: list[Node], name: str) -> None:
        """Compute nodes for all samples, and keep what other nodes read."""
        made = {v for n in nodes for v in n.outputs}
        later = {v for n in graph.nodes if n.name not in self._done for v in n.read}
        given = {v for n in nodes for v in n.read} - made - set(graph.constants)
        wanted = tuple(sorted((made & later) | {name}))
        kept = {v for n in nodes for v in (*n.read, *n.outputs)}
        part = replace(
            graph,
            inputs=tuple(sorted(given)),
            outputs=wanted,
            nodes=tuple(nodes),
            types={v: t for v, t in graph.types.items() if v in kept},
            constants={v: a for v, a in graph.constants.items() if v in kept},
        )
        oracle = Oracle(to_onnx(part), optimized=self._optimized)
        for values in self._values:
            values |= oracle.run({v: values[v] for v in oracle.inputs})


def _needed(graph: Graph, name: str, known: set[str]) -> list[Node]:
    """The nodes that compute a value from known ones, in topological order."""
    wanted, nodes = {name}, []
    for node in reversed(graph.nodes):
        if wanted.intersection(node.outputs):
            nodes.append(node)
            wanted.update(v for v in node.read if v not in known)
    return nodes[::-1]
