"""Patches: the only way to change a graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush

import numpy as np

from edgesmith.errors import GraphError
from edgesmith.ir.graph import Graph, Node
from edgesmith.ir.types import TensorType

__all__ = ["Patch", "apply"]


@dataclass(frozen=True, eq=False)
class Patch:
    """A rewrite of some nodes.

    Args:
        rule: name of the pass that made it.
        remove: names of the nodes that go.
        insert: nodes that come, in any order; the types of their outputs are inferred.
        constants: new constants.
        rename: value to read instead, for every reader of a key (a removed value's replacement).
    """

    rule: str
    remove: frozenset[str] = frozenset()
    insert: tuple[Node, ...] = ()
    constants: Mapping[str, np.ndarray] = field(default_factory=dict)
    rename: Mapping[str, str] = field(default_factory=dict)


def apply(graph: Graph, patches: Sequence[Patch]) -> Graph:
    """The graph after all patches, in topological order, verified; raises ``GraphError`` when a patch breaks it.

    Patches must be disjoint: no node removed twice, no removed value read by another patch's insertions. An inserted
    node may compute what was a constant.
    """
    removed: set[str] = set()
    for patch in patches:
        if removed & patch.remove:
            raise GraphError(f"removed by two patches: {sorted(removed & patch.remove)}", where=patch.rule)
        if not patch.remove <= graph.position.keys():
            raise GraphError(f"no such node: {sorted(patch.remove - graph.position.keys())}", where=patch.rule)
        removed |= patch.remove
    rename = {old: new for p in patches for old, new in p.rename.items()}
    inserted = [node for p in patches for node in p.insert]
    made = {v for node in inserted for v in node.outputs}

    def resolve(value: str) -> str:
        seen = {value}
        while value in rename:
            value = rename[value]
            if value in seen:
                raise GraphError(f"renames of {value!r} form a circle", where=patches[0].rule)
            seen.add(value)
        return value

    lost = set(graph.outputs) & set(rename)
    if lost:
        raise GraphError(f"patch renames graph outputs {sorted(lost)}", where=patches[0].rule)
    constants = {**graph.constants, **{v: a for p in patches for v, a in p.constants.items()}}
    kept = [node for node in graph.nodes if node.name not in removed]
    nodes = _sorted(
        [
            Node(n.name, n.op, tuple(resolve(v) if v else v for v in n.inputs), n.outputs, n.origin)
            for n in (*kept, *inserted)
        ],
        known={*graph.inputs, *constants} - made,
        rule=patches[0].rule if patches else "",
    )
    read = {v for node in nodes for v in node.read} | set(graph.outputs)
    constants = {v: a for v, a in constants.items() if v in read - made}
    types: dict[str, TensorType] = {v: graph.types[v] for v in graph.inputs}
    types.update((v, TensorType.of(a)) for v, a in constants.items())
    fresh = {node.name for node in inserted}
    for node in nodes:
        if node.name in fresh:
            inferred = node.op.infer([types[v] if v else None for v in node.inputs])
            types.update(zip(node.outputs, inferred, strict=True))
        else:
            types.update((v, graph.types[v]) for v in node.outputs)
    for value in graph.outputs:
        if types.get(value) != graph.types[value]:
            raise GraphError(
                f"output {value!r} was {graph.types[value]}, is now {types.get(value)}", where=patches[0].rule
            )
    result = Graph(graph.inputs, graph.outputs, tuple(nodes), types, constants, graph.name)
    readers = {r.name for node in inserted for v in node.outputs for r in result.consumers[v]}
    result.check([node for node in result.nodes if node.name in readers and node.name not in fresh])
    return result


def _sorted(nodes: Iterable[Node], known: set[str], rule: str) -> list[Node]:
    """Stable topological order (Kahn), earliest listed first."""
    pending: dict[str, Node] = {}
    for node in nodes:
        if node.name in pending:
            raise GraphError(f"two nodes share the name {node.name!r}", where=rule)
        pending[node.name] = node
    waiting: dict[str, list[str]] = {}
    missing: dict[str, int] = {}
    produced = {v for node in pending.values() for v in node.outputs}
    for node in pending.values():
        needs = {v for v in node.read if v not in known}
        unknown = needs - produced
        if unknown:
            raise GraphError(f"{node.name} reads {sorted(unknown)[0]!r}, which nothing produces", where=rule)
        missing[node.name] = len(needs)
        for value in needs:
            waiting.setdefault(value, []).append(node.name)
    names = list(pending)
    position = {name: i for i, name in enumerate(names)}
    ready = [position[name] for name, count in missing.items() if count == 0]
    heapify(ready)
    order: list[Node] = []
    while ready:
        node = pending[names[heappop(ready)]]
        order.append(node)
        for value in node.outputs:
            for name in waiting.get(value, ()):
                missing[name] -= 1
                if missing[name] == 0:
                    heappush(ready, position[name])
    if len(order) != len(pending):
        raise GraphError("nodes form a cycle", where=rule)
    return order
