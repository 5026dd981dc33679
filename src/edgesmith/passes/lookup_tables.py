"""Functions of one byte as tables."""

from __future__ import annotations

from collections.abc import Iterator

from edgesmith.ir import Graph, Node, Patch
from edgesmith.ops import Elementwise
from edgesmith.ops.lookup import Lookup, table_of
from edgesmith.passes.editing import Names, merged_origin, nodes_of
from edgesmith.passes.engine import Skipped, rewrite
from edgesmith.passes.quantized_values import BYTES

RULE = "lookup-tables"


@rewrite(RULE)
def lookup_tables(graph: Graph) -> Iterator[Patch | Skipped]:
    """A QuantizeLinear of a function of one quantised value is an entry of a table, which the references compute.

    The function is whatever elementwise operators lie between the bytes and the QuantizeLinear, conversions to bytes
    and back among them (Swish as QDQ), provided nothing else reads what is between. Only where one of them is
    transcendental, whose last bits depend on the instruction set in floats; arithmetic is exact in floats and as a
    table, so there kernels compete (``kernels/lookup.py``). A function of values that are not bytes before it, as of
    the scaled sums of a product, stays with what computes them.
    """
    for node in nodes_of(graph, "QuantizeLinear"):
        if graph.type(node.outputs[0]).dtype not in BYTES:
            continue
        found = _function(graph, node)
        if found is None:
            continue
        value, members = found
        if any(_is_transcendental(graph, n) for n in members):
            yield _patch(graph, node, value, members)


def _function(graph: Graph, node: Node) -> tuple[str, list[Node]] | None:
    """The bytes that ``node`` is a function of, and the nodes of that function; as many as there are."""
    members = {node.name: node}
    while True:
        # Bytes that members read are leaves, until the region is grown through the QuantizeLinear that makes them.
        outside = {v for n in members.values() for v in n.read if v not in graph.constants}
        outside -= {v for n in members.values() for v in n.outputs}
        wide = sorted(v for v in outside if graph.type(v).dtype not in BYTES)
        if not wide and len(outside) == 1:
            (leaf,) = outside
            maker = graph.producer(leaf)
            if maker is not None and isinstance(maker.op, Lookup) and graph.sole_consumer(leaf) is not None:
                members[maker.name] = maker
                continue
            inside = list(members.values())
            return (leaf, inside) if _is_closed(graph, node, members) and graph.type(leaf).size else None
        grown = False
        for value in wide or sorted(outside, key=lambda v: -_depth(graph, v)):
            maker = graph.producer(value)
            if maker is not None and _is_unary(graph, maker):
                members[maker.name] = maker
                grown = True
                break
            if wide:
                return None
        if not grown:
            return None


def _depth(graph: Graph, value: str) -> int:
    maker = graph.producer(value)
    return -1 if maker is None else graph.position[maker.name]


def _is_unary(graph: Graph, node: Node) -> bool:
    """Whether an elementwise operator reads single numbers besides values of its own shape; a Lookup does."""
    if isinstance(node.op, Lookup):
        return True
    if not isinstance(node.op, Elementwise) or len(node.outputs) != 1:
        return False
    shape = graph.type(node.outputs[0]).shape
    return all(
        graph.constants[v].size == 1 if v in graph.constants else graph.type(v).shape == shape for v in node.read
    )


def _is_closed(graph: Graph, node: Node, members: dict[str, Node]) -> bool:
    """Whether nothing outside reads what the function computes on its way; a DequantizeLinear may serve others too."""
    for member in members.values():
        if member is node or member.op.name == "DequantizeLinear":
            continue
        (value,) = member.outputs
        if value in graph.outputs or any(n.name not in members for n in graph.consumers[value]):
            return False
    return _is_unary(graph, node)


def _is_transcendental(graph: Graph, node: Node) -> bool:
    if isinstance(node.op, Lookup):
        return True
    assert isinstance(node.op, Elementwise)
    return bool(node.op.c_functions(graph.input_types(node)))


def _patch(graph: Graph, node: Node, value: str, members: list[Node]) -> Patch:
    ordered = sorted(members, key=lambda n: graph.position[n.name])
    entries = table_of(ordered, graph.constants, graph.type(value), value)
    names = Names(graph)
    table = names(f"{node.outputs[0]}:table")
    lookup = Node(names(f"{node.name}:lookup"), Lookup(), (value, table), node.outputs, merged_origin(ordered))
    return Patch(RULE, frozenset((node.name,)), (lookup,), {table: entries})
