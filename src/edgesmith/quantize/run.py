"""A graph run in ONNX Runtime over many samples, its intermediate values with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from edgesmith.export import to_onnx
from edgesmith.ir import Graph, Node
from edgesmith.oracle import Oracle

__all__ = ["Runner", "run_float"]

Arrays = Mapping[str, np.ndarray]
BUDGET_BYTES = 1 << 29


class Runner:
    """Gives values of a graph for one sample after the other.

    Values that together need more memory than the budget are computed in pieces, one after the other, each from the
    beginning of the network.

    Args:
        values: any values of the graph.
        budget_bytes: most memory for the values of one piece (a single value may be larger).
        optimized: with ONNX Runtime's graph optimisations; without them Q/DQ models are computed in floats exactly as
            written (its integer kernels saturate intermediate sums on machines without VNNI).
    """

    def __init__(
        self, graph: Graph, values: Sequence[str], *, budget_bytes: int = BUDGET_BYTES, optimized: bool = True
    ) -> None:
        self._graph = graph
        self._given = [v for v in values if v in graph.inputs]
        computed = [v for v in values if v not in graph.inputs]
        self.pieces = _pieces(graph, computed, budget_bytes)
        self._oracles = [Oracle(to_onnx(_until(graph, piece)), optimized=optimized) for piece in self.pieces]

    def __call__(self, feeds: Arrays) -> Iterator[dict[str, np.ndarray]]:
        """The values of one sample, piece by piece."""
        if self._given:
            yield {v: np.asarray(feeds[v]) for v in self._given}
        for oracle in self._oracles:
            yield oracle.run({v: np.ascontiguousarray(feeds[v]) for v in oracle.inputs})


def run_float(
    graph: Graph, samples: Iterable[Arrays], values: Sequence[str], *, budget_bytes: int = BUDGET_BYTES
) -> Iterator[dict[str, np.ndarray]]:
    """For each sample (inputs by name) all ``values`` of the graph by name, in ONNX Runtime.

    All values of one sample are in memory at once; where that is too much, use ``Runner``.
    """
    runner = Runner(graph, values, budget_bytes=budget_bytes)
    for feeds in samples:
        found: dict[str, np.ndarray] = {}
        for piece in runner(feeds):
            found |= piece
        yield found


def _pieces(graph: Graph, values: Sequence[str], budget_bytes: int) -> list[list[str]]:
    """Values in groups of at most the budget, in topological order, so that early groups need short runs."""
    rank = {v: i for i, v in enumerate(v for n in graph.nodes for v in n.outputs)}
    pieces: list[list[str]] = []
    size = 0
    for value in sorted(dict.fromkeys(values), key=rank.__getitem__):
        size += graph.type(value).nbytes
        if not pieces or size > budget_bytes:
            pieces.append([])
            size = graph.type(value).nbytes
        pieces[-1].append(value)
    return pieces


def _until(graph: Graph, values: Sequence[str]) -> Graph:
    """The part of the graph that computes ``values``, which are its outputs."""
    needed = set(values)
    nodes: list[Node] = []
    for node in reversed(graph.nodes):
        if needed & set(node.outputs):
            nodes.append(node)
            needed |= set(node.read)
    kept = {v for n in nodes for v in (*n.read, *n.outputs)}
    return replace(
        graph,
        inputs=tuple(v for v in graph.inputs if v in kept),
        outputs=tuple(values),
        nodes=tuple(reversed(nodes)),
        types={v: t for v, t in graph.types.items() if v in kept},
        constants={v: a for v, a in graph.constants.items() if v in kept},
    )
