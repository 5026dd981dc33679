"""Making patches: a node replaced, removed, or given another form."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from edgesmith.ir import Graph, Node, Op, Patch
from edgesmith.ops.identity import Identity

__all__ = ["Names", "bypass", "merged_origin", "nodes_of", "substitute", "supersede"]


class Names:
    """Unused names for the values and nodes of one patch."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._given: set[str] = set()

    def __call__(self, base: str) -> str:
        """``base``, with a number where it is taken."""
        name, number = base, 1
        while name in self._graph.types or name in self._graph.position or name in self._given:
            number += 1
            name = f"{base}~{number}"
        self._given.add(name)
        return name


def merged_origin(nodes: Iterable[Node]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(o for n in nodes for o in n.origin))


def substitute(
    rule: str,
    node: Node,
    op: Op,
    inputs: Sequence[str],
    *,
    absorbed: Sequence[Node] = (),
    before: Sequence[Node] = (),
    constants: Mapping[str, np.ndarray] | None = None,
) -> Patch:
    """``node`` computed by another operator from other inputs; its outputs keep their names.

    The new node is called after the absorbed one of its own kind (a convolution that took in a scaling stays that
    convolution), otherwise after ``node``.

    Args:
        absorbed: nodes that go, because the new one does their work.
        before: new nodes that compute its inputs.
    """
    same_kind = [n.name for n in (node, *absorbed) if type(n.op) is type(op)]
    name = same_kind[0] if same_kind else node.name
    new = Node(name, op, tuple(inputs), node.outputs, merged_origin((*absorbed, node)))
    removed = frozenset((node.name, *(n.name for n in absorbed)))
    return Patch(rule, removed, (*before, new), constants or {})


def bypass(graph: Graph, rule: str, node: Node, value: str) -> Patch | None:
    """The patch after which ``value`` takes the place of the only output of ``node``; see ``supersede``."""
    return supersede(graph, rule, node, {node.outputs[0]: value})


def supersede(graph: Graph, rule: str, node: Node, values: Mapping[str, str]) -> Patch | None:
    """The patch that removes ``node`` and reads other values instead of its outputs.

    Where an output is a graph output, the producer of the other value makes it; where there is none, or the other value
    is a graph output too, an Identity has to stay, so that a step writes the output's memory. None: ``node`` is that
    Identity.

    Args:
        values: output -> the value of the same type that takes its place; every output that is read or a graph output
            needs one.
    """
    names = Names(graph)
    remove = {node.name}
    rename: dict[str, str] = {}
    insert: dict[str, Node] = {}
    for old, new in values.items():
        producer = graph.producer(new)
        if old not in graph.outputs:
            rename[old] = new
        elif producer is None or new in graph.outputs or new in rename:
            if isinstance(node.op, Identity):
                return None
            name = names(f"{old}:copy")
            insert[name] = Node(name, Identity(), (new,), (old,), node.origin)
        else:
            current = insert.get(producer.name, producer)
            insert[producer.name] = replace(current, outputs=tuple(old if v == new else v for v in current.outputs))
            remove.add(producer.name)
            rename[new] = old
    return Patch(rule, frozenset(remove), tuple(insert.values()), rename=rename)


def nodes_of(graph: Graph, *names: str) -> Iterator[Node]:
    """Nodes whose operator has one of these names."""
    return (n for n in graph.nodes if n.op.name in names)
