"""Dead code elimination."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from edgesmith.ir import Graph, Patch
from edgesmith.ops.max_pool import MaxPool
from edgesmith.ops.slice import Slice
from edgesmith.ops.split import Split
from edgesmith.passes.editing import Names, nodes_of
from edgesmith.passes.engine import Skipped, rewrite


@rewrite("dead-code")
def remove_dead_code(graph: Graph) -> Iterator[Patch | Skipped]:
    """Nodes from which no graph output can be reached go."""
    needed = set(graph.outputs)
    dead = set()
    for node in reversed(graph.nodes):
        if needed.isdisjoint(node.outputs):
            dead.add(node.name)
        else:
            needed.update(node.read)
    if dead:
        yield Patch("dead-code", frozenset(dead))


@rewrite("unread-outputs")
def drop_unread_outputs(graph: Graph) -> Iterator[Patch | Skipped]:
    """MaxPool without the indices that nobody reads; Split with unread parts becomes a Slice for each part read."""
    for node in nodes_of(graph, "MaxPool", "Split"):
        unread = [v for v in node.outputs if not graph.consumers[v] and v not in graph.outputs]
        if not unread or len(unread) == len(node.outputs):
            continue
        if isinstance(node.op, MaxPool) and unread == [node.outputs[1]]:
            new = replace(node, op=replace(node.op, indices=False), outputs=node.outputs[:1])
            yield Patch("unread-outputs", frozenset((node.name,)), (new,))
        elif isinstance(node.op, Split):
            shape = graph.type(node.read[0]).shape
            names = Names(graph)
            slices = []
            start = 0
            for value, length in zip(node.outputs, node.op.lengths, strict=True):
                if value not in unread:
                    op = _part(shape, node.op.axis, start, length)
                    slices.append(replace(node, name=names(f"{node.name}:{value}"), op=op, outputs=(value,)))
                start += length
            yield Patch("unread-outputs", frozenset((node.name,)), tuple(slices))
        else:
            yield Skipped(node.name, "its values are not read, but its indices are")


def _part(shape: tuple[int, ...], axis: int, start: int, length: int) -> Slice:
    starts, lengths = [0] * len(shape), list(shape)
    starts[axis], lengths[axis] = start, length
    return Slice(tuple(starts), tuple(lengths), (1,) * len(shape))
