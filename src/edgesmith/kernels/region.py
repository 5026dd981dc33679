"""Regions: connected parts of the graph that one kernel computes in one step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from edgesmith.ir import Graph, Node
from edgesmith.ops import Elementwise
from edgesmith.ops.cast import widens_half

__all__ = ["Region", "epilogue_chains", "region", "widened", "widening_chains"]


@dataclass(frozen=True, eq=False)
class Region:
    """Nodes computed together.

    Args:
        nodes: in topological order.
        anchor: the node that decides the algorithm; the others follow from it.
        inputs: run-time values read from outside, each once, in order of first use.
        outputs: values needed outside.
    """

    nodes: tuple[Node, ...]
    anchor: Node
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def names(self) -> frozenset[str]:
        return frozenset(n.name for n in self.nodes)

    @property
    def source(self) -> str:
        """What the anchor's first input is made from: a value of fp16 where a Cast before the anchor widens it."""
        first = self.nodes[0]
        widened = first is not self.anchor and first.outputs[0] == self.anchor.inputs[0]
        return first.inputs[0] if widened else self.anchor.inputs[0]

    @property
    def label(self) -> str:
        """What it computes, such as ``Conv+Relu``."""
        return "+".join(n.op.name for n in self.nodes)

    def __str__(self) -> str:
        return f"{self.label} {self.anchor.name}"


def region(graph: Graph, nodes: Iterable[Node], anchor: Node) -> Region:
    """The region of some nodes with its inputs and outputs."""
    ordered = tuple(nodes)
    inside = {n.name for n in ordered}
    made = {v for n in ordered for v in n.outputs}
    inputs = dict.fromkeys(v for n in ordered for v in n.read if v not in made and v not in graph.constants)
    outputs = tuple(
        v
        for n in ordered
        for v in n.outputs
        if v in graph.outputs or any(c.name not in inside for c in graph.consumers[v])
    )
    return Region(ordered, anchor, tuple(inputs), outputs)


def epilogue_chains(graph: Graph, anchor: Node, limit: int = 24) -> Iterator[Region]:
    """The anchor alone, then with ever more elementwise operators computed from its output.

    A region grows by the first reader of its live values, so that no operand taken from outside can depend on the
    region itself, and by the DequantizeLinear of such an operand that nothing else reads, or its Cast from fp16; it
    ends at the first reader that is not elementwise or changes the shape. Regions with more than one live value
    (x * sigmoid(x) half way) are passed over.
    """
    yield region(graph, (anchor,), anchor)
    if len(anchor.outputs) != 1:
        return
    shape = graph.type(anchor.outputs[0]).shape
    nodes = [anchor]
    inside = {anchor.name}
    while len(nodes) < limit:
        made = [v for n in nodes for v in n.outputs]
        readers = [n for v in made for n in graph.consumers[v] if n.name not in inside]
        if not readers or any(v in graph.outputs for v in made[:-1]):
            return
        follower = min(readers, key=lambda n: graph.position[n.name])
        if not isinstance(follower.op, Elementwise) or graph.type(follower.outputs[0]).shape != shape:
            return
        joining = [*_converted(graph, follower, inside), follower]
        nodes += joining
        inside.update(n.name for n in joining)
        grown = region(graph, nodes, anchor)
        if grown.outputs == follower.outputs:
            yield grown


def widening_chains(graph: Graph, anchor: Node) -> Iterator[Region]:
    """The ``epilogue_chains`` of an anchor, with the Cast before it that makes f32 of fp16 for it alone."""
    cast = _widening(graph, anchor)
    if cast is not None:
        for chain in epilogue_chains(graph, anchor):
            yield region(graph, (cast, *chain.nodes), anchor)


def widened(graph: Graph, anchor: Node) -> Iterator[Region]:
    """The anchor with the Cast before it that makes f32 of fp16 for it alone, where there is one."""
    cast = _widening(graph, anchor)
    if cast is not None:
        yield region(graph, (cast, anchor), anchor)


def _widening(graph: Graph, anchor: Node) -> Node | None:
    cast = graph.producer(anchor.inputs[0])
    alone = graph.sole_consumer(anchor.inputs[0]) is anchor
    return cast if cast is not None and alone and widens_half(graph, cast) else None


def _converted(graph: Graph, follower: Node, inside: set[str]) -> list[Node]:
    """Producers of operands of ``follower`` that only convert integers or numbers of fp16 for it."""
    producers = [graph.producer(v) for v in dict.fromkeys(follower.read) if graph.sole_consumer(v) is follower]
    converting = (p for p in producers if p and (p.op.name == "DequantizeLinear" or widens_half(graph, p)))
    return [p for p in converting if p.name not in inside]
