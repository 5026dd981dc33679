"""Upper bounds that saturation implies, taken out of a quantised graph."""

from __future__ import annotations

from edgesmith.ir import Graph, Node, Patch, apply
from edgesmith.ops.quantize_linear import QuantizeLinear
from edgesmith.ops.variadic import Min
from edgesmith.quantize.parameters import QParams

__all__ = ["without_implied_bounds"]


def without_implied_bounds(graph: Graph) -> Graph:
    """A quantised graph without each Min of constants whose result is only rounded, to integers that end there."""
    patches = [p for n in graph.nodes if _is_implied(graph, n) for p in _without(graph, n)]
    return apply(graph, patches) if patches else graph


def _is_implied(graph: Graph, node: Node) -> bool:
    if not isinstance(node.op, Min) or len(node.read) != 2 or node.inputs[1] not in graph.constants:
        return False
    down = graph.sole_consumer(node.outputs[0])
    if down is None or not isinstance(down.op, QuantizeLinear):
        return False
    scale, zero = (graph.constants[v] for v in down.inputs[1:3])
    stored = QParams(scale, zero, graph.type(down.outputs[0]).dtype)
    return bool((stored.quantize(graph.constants[node.inputs[1]]) == stored.limits[1]).all())


def _without(graph: Graph, node: Node) -> list[Patch]:
    """The patch after which the producer of the first input makes the only output itself."""
    producer = graph.producer(node.inputs[0])
    if producer is None or graph.sole_consumer(node.inputs[0]) is not node or len(producer.outputs) != 1:
        return []
    made = Node(producer.name, producer.op, producer.inputs, node.outputs, producer.origin)
    return [Patch("implied-bounds", frozenset((producer.name, node.name)), (made,))]
