"""Values of fp16 moved as they are, and widened where they are read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from edgesmith.ir import DType, Graph, Node, Patch
from edgesmith.ops.cast import Cast, widens_half
from edgesmith.ops.movement import Movement
from edgesmith.ops.pad import Pad
from edgesmith.passes.editing import Names, bypass, merged_origin
from edgesmith.passes.engine import Skipped, rewrite

RULE = "half-movement"


@rewrite(RULE)
def half_movement(graph: Graph) -> Iterator[Patch | Skipped]:
    """Conversions to fp16 and back go next to what computes; movement is of fp16.

    - fp16(f32(h)) = h;
    - move(f32(h)) = f32(move(h)) where all inputs are of fp16;
    - each reader of f32(h) has its own conversion, which its kernel may do while it reads.
    """
    for node in graph.nodes:
        found: Patch | None = None
        if isinstance(node.op, Cast) and node.op.to is DType.F16:
            back = graph.producer(node.inputs[0])
            if back is not None and widens_half(graph, back):
                found = bypass(graph, RULE, node, back.inputs[0])
        elif isinstance(node.op, Movement) and not isinstance(node.op, Pad):
            found = _sunk(graph, node)
        elif widens_half(graph, node):
            found = _apart(graph, node)
        if found is not None:
            yield found


def _sunk(graph: Graph, node: Node) -> Patch | None:
    sources = [graph.producer(v) for v in node.inputs if v in graph.types and graph.type(v).dtype.is_float]
    if not sources or not all(widens_half(graph, p) for p in sources):
        return None
    names = Names(graph)
    halves = {p.outputs[0]: p.inputs[0] for p in sources if p is not None}
    results = [names(f"{v}:f16") for v in node.outputs]
    moved = replace(node, inputs=tuple(halves.get(v, v) for v in node.inputs), outputs=tuple(results))
    origin = merged_origin((*filter(None, sources), node))
    after = [
        Node(names(f"{node.name}:f32"), Cast(DType.F32), (half,), (value,), origin)
        for half, value in zip(results, node.outputs, strict=True)
    ]
    return Patch(RULE, frozenset((node.name,)), (moved, *after))


def _apart(graph: Graph, node: Node) -> Patch | None:
    (value,) = node.outputs
    readers = list(dict.fromkeys(graph.consumers[value]))
    if len(readers) < 2:
        return None
    names = Names(graph)
    insert: list[Node] = []
    for reader in readers[1:]:
        own = names(f"{value}~")
        insert.append(Node(names(f"{node.name}~"), node.op, node.inputs, (own,), node.origin))
        insert.append(replace(reader, inputs=tuple(own if v == value else v for v in reader.inputs)))
    return Patch(RULE, frozenset(r.name for r in readers[1:]), tuple(insert))
