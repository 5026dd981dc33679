"""Graph outputs lie row-major in memory of the caller."""

from __future__ import annotations

from collections.abc import Mapping

from edgesmith.errors import UnsupportedOp
from edgesmith.ir import Graph, Node, Patch, View, apply
from edgesmith.ops import OPS, Movement, Operator
from edgesmith.plan.layout import channels_last

__all__ = ["own_memory"]


def own_memory(graph: Graph) -> Graph:
    """Give graph outputs a copy step where their producer would not write row-major memory.

    Raises:
        UnsupportedOp: an output is an input; the two would have to share their memory.
    """
    inner = {v: _unused(graph, f"{v}:inner") for v in dict.fromkeys(graph.outputs) if _needs_copy(graph, v)}
    if not inner:
        return graph
    identity = OPS["Identity"]()
    changed = dict.fromkeys(n for v in inner for n in (graph.producer(v), *graph.consumers[v]) if n is not None)
    moved = [Node(n.name, n.op, _renamed(n.inputs, inner), _renamed(n.outputs, inner), n.origin) for n in changed]
    copies = []
    for value, source in inner.items():
        producer = graph.producer(value)
        origin = producer.origin if producer else ()
        copies.append(Node(_unused(graph, f"{value}:copy"), identity, (source,), (value,), origin))
    constants = {inner[v]: a for v, a in graph.constants.items() if v in inner}
    return apply(graph, [Patch("own-memory", frozenset(n.name for n in changed), (*moved, *copies), constants)])


def _needs_copy(graph: Graph, value: str) -> bool:
    node, shape = graph.producer(value), graph.type(value).shape
    if node is None:
        if value in graph.inputs:
            raise UnsupportedOp("the output is an input of the model", where=value, hint="put an Identity node between")
        return True
    assert isinstance(node.op, Operator)
    if node.op.layout == "row_major" or (isinstance(node.op, Movement) and len(node.read) == 1):
        return False
    return View.dense(graph.type(value), channels_last(len(shape))).order() != tuple(range(len(shape)))


def _unused(graph: Graph, name: str) -> str:
    while name in graph.types or name in graph.position:
        name += "_"
    return name


def _renamed(values: tuple[str, ...], names: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(names.get(v, v) for v in values)
