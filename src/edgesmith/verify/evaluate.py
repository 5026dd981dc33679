"""The graph run node by node in ONNX Runtime, so that memory holds only values that are still needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edgesmith.errors import UnsupportedOp
from edgesmith.export import to_onnx
from edgesmith.ir import Graph, Node, TensorType
from edgesmith.ops.integer_products import IntegerProduct
from edgesmith.oracle import Oracle

__all__ = ["Evaluator", "Values"]

Array = np.ndarray


class Evaluator:
    """Runs single nodes of a graph in ONNX Runtime, on whatever operands one likes.

    Operators without an implementation there (for some element type) are computed by their numpy reference, and so are
    integer products: on processors without VNNI, ONNX Runtime adds u8 times s8 in 16 bits, which saturate.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._oracles: dict[tuple[str, str], Oracle | None] = {}

    def run(self, node: Node, operands: Sequence[Array | None]) -> tuple[Array, ...]:
        """The outputs of one node for operands of its own shapes and element types (None: absent)."""
        key = (node.name, str(node.op))
        names = [f"x{i}" if a is not None else "" for i, a in enumerate(operands)]
        if key not in self._oracles:
            self._oracles[key] = self._oracle(node, names)
        oracle = self._oracles[key]
        if oracle is None:
            return node.op.reference(*operands)
        feeds = {n: np.asarray(a, order="C") for n, a in zip(names, operands, strict=True) if a is not None}
        results = oracle.run(feeds)
        return tuple(results[f"y{i}"] for i in range(len(node.outputs)))

    def _oracle(self, node: Node, names: Sequence[str]) -> Oracle | None:
        if isinstance(node.op, IntegerProduct):
            return None
        try:
            return Oracle(to_onnx(_alone(self.graph, node, names)), optimized=False)
        except UnsupportedOp:
            return None


def _alone(graph: Graph, node: Node, inputs: Sequence[str]) -> Graph:
    """A graph of nothing but ``node``, its operands all given by the caller."""
    outputs = tuple(f"y{i}" for i in range(len(node.outputs)))
    types: dict[str, TensorType] = {n: graph.type(v) for n, v in zip(inputs, node.inputs, strict=True) if n}
    types |= dict(zip(outputs, graph.output_types(node), strict=True))
    given = tuple(n for n in inputs if n)
    return Graph(given, outputs, (Node(node.name, node.op, tuple(inputs), outputs),), types, {}, node.name)


class Values:
    """Values of a graph under evaluation; each is forgotten after its last reader.

    Args:
        kept: values that are never forgotten.
    """

    def __init__(self, graph: Graph, feeds: Mapping[str, Array], kept: Sequence[str] = ()) -> None:
        self._graph = graph
        self._known: dict[str, Array] = {v: np.asarray(feeds[v]) for v in graph.inputs}
        self._kept = {*kept, *graph.inputs, *graph.outputs}
        self._readers = {v: len({n.name for n in nodes}) for v, nodes in graph.consumers.items()}

    def __getitem__(self, value: str) -> Array:
        constant = self._graph.constants.get(value)
        return constant if constant is not None else self._known[value]

    def __contains__(self, value: str) -> bool:
        return value in self._known or value in self._graph.constants

    def operands(self, node: Node) -> list[Array | None]:
        """The node's inputs in order, None for absent ones."""
        return [self[v] if v else None for v in node.inputs]

    def store(self, node: Node, results: Sequence[Array]) -> None:
        """Keep the results of a node; call ``release`` when its operands are no longer needed."""
        self._known.update(zip(node.outputs, results, strict=True))

    def release(self, node: Node) -> None:
        """Count the node as done: operands that nobody else reads are forgotten, and results that nobody reads."""
        for value in {*node.read}:
            self._readers[value] -= 1
        for value in (*node.read, *node.outputs):
            if not self._readers[value] and value not in self._kept:
                self._known.pop(value, None)
