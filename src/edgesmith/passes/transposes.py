"""Transposes merged, and moved through other operators where fewer remain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from edgesmith.ir import Graph, Node, Op, Patch
from edgesmith.ops import Elementwise
from edgesmith.ops.concat import Concat
from edgesmith.ops.pad import Pad
from edgesmith.ops.reduction import Reduction
from edgesmith.ops.slice import Slice
from edgesmith.ops.split import Split
from edgesmith.ops.transpose import Transpose
from edgesmith.passes.editing import Names, merged_origin, nodes_of, substitute
from edgesmith.passes.engine import Skipped, rewrite

Permutation = tuple[int, ...]


@rewrite("transpose-of-transpose")
def merge_transposes(graph: Graph) -> Iterator[Patch | Skipped]:
    """A Transpose of a Transpose reads what the first one reads; a pair that cancels is then an identity."""
    for node in nodes_of(graph, "Transpose"):
        inner = graph.producer(node.inputs[0])
        if inner is not None and isinstance(inner.op, Transpose) and isinstance(node.op, Transpose):
            perm = tuple(inner.op.perm[a] for a in node.op.perm)
            yield substitute("transpose-of-transpose", node, Transpose(perm), inner.inputs)


@rewrite("move-transposes")
def move_transposes(graph: Graph) -> Iterator[Patch | Skipped]:
    """Regions of operators that do not care about the order of axes compute in the order that needs fewer transposes.

    Such operators are the elementwise ones, Concat, Split, Pad, Slice and reductions that keep their axes. For each
    Transpose that enters a region, the region is rewritten to compute on the Transpose's input, if afterwards there are
    fewer transposes than before.
    """
    tried: set[tuple[frozenset[str], Permutation]] = set()
    for node in nodes_of(graph, "Transpose"):
        assert isinstance(node.op, Transpose)
        value = node.outputs[0]
        reason = "nothing that reads it can be computed in another order of axes"
        for grow in (_downstream, _connected):
            members = grow(graph, value, node.op.perm)
            key = frozenset(n.name for n in members), node.op.perm
            if not members or key in tried:
                continue
            tried.add(key)
            region = _Region(graph, members, node.op.perm)
            before, after = region.count()
            if after < before:
                yield region.patch()
                break
            reason = f"moving it would leave {after} transposes for {before}"
        else:
            yield Skipped(node.name, reason)


def _is_transparent(graph: Graph, node: Node) -> bool:
    """True for an operator that can be computed in any order of axes, all its operands having the same rank."""
    rank = graph.type(node.outputs[0]).rank
    run_time = [v for v in node.read if v not in graph.constants]
    if any(graph.type(v).rank != rank for v in run_time) or len(node.inputs) != len(node.read):
        return False
    if isinstance(node.op, Elementwise):
        return True
    if len(run_time) != len(node.read):
        return False
    return isinstance(node.op, Concat | Split | Pad | Slice) or (
        isinstance(node.op, Reduction) and bool(node.op.keepdims)
    )


def _enters(graph: Graph, value: str, perm: Permutation) -> bool:
    node = graph.producer(value)
    return node is not None and isinstance(node.op, Transpose) and node.op.perm == perm


def _downstream(graph: Graph, value: str, perm: Permutation) -> list[Node]:
    """Operators that compute from nothing but transposed values and constants, starting from a transposed value."""
    members: dict[str, Node] = {}
    made = {value}
    pending = [value]
    while pending:
        for reader in graph.consumers[pending.pop()]:
            ready = all(v in made or v in graph.constants or _enters(graph, v, perm) for v in reader.read)
            if reader.name not in members and ready and _is_transparent(graph, reader):
                members[reader.name] = reader
                made.update(reader.outputs)
                pending += reader.outputs
    return sorted(members.values(), key=lambda n: graph.position[n.name])


def _connected(graph: Graph, value: str, perm: Permutation) -> list[Node]:
    """All operators that hang together with the readers of a transposed value."""
    members: dict[str, Node] = {}
    pending = list(graph.consumers[value])
    while pending:
        node = pending.pop()
        if node.name in members or not _is_transparent(graph, node):
            continue
        members[node.name] = node
        pending += [n for v in node.outputs for n in graph.consumers[v]]
        pending += [n for v in node.read if (n := graph.producer(v)) is not None]
    return sorted(members.values(), key=lambda n: graph.position[n.name])


@dataclass
class _Region:
    """Operators to compute in the order of axes before a permutation: v is Transpose(perm) of what takes its place."""

    graph: Graph
    members: Sequence[Node]
    perm: Permutation
    made: set[str] = field(init=False)
    inside: set[str] = field(init=False)

    def __post_init__(self) -> None:
        self.made = {v for n in self.members for v in n.outputs}
        self.inside = {n.name for n in self.members}

    @property
    def inverse(self) -> Permutation:
        return tuple(int(a) for a in np.argsort(self.perm))

    def _entering(self) -> list[str]:
        """Run-time values that the region reads from outside, each once."""
        read = dict.fromkeys(v for n in self.members for v in n.read)
        return [v for v in read if v not in self.made and v not in self.graph.constants]

    def _leaving(self) -> dict[str, tuple[list[Node], bool]]:
        """Values read outside: the transposes that read them, and whether anything else does."""
        result = {}
        for value in (v for n in self.members for v in n.outputs):
            outside = [n for n in self.graph.consumers[value] if n.name not in self.inside]
            transposes = [n for n in outside if isinstance(n.op, Transpose)]
            others = len(transposes) < len(outside) or value in self.graph.outputs
            if outside or others:
                result[value] = (transposes, others)
        return result

    def _freed(self) -> list[Node]:
        """Entering transposes that only the region reads."""
        found = [self.graph.producer(v) for v in self._entering() if _enters(self.graph, v, self.perm)]
        return [
            n
            for n in found
            if n is not None
            and n.outputs[0] not in self.graph.outputs
            and all(c.name in self.inside for c in self.graph.consumers[n.outputs[0]])
        ]

    def count(self) -> tuple[int, int]:
        """Transposes around the region before and after the rewriting."""
        entering = self._entering()
        leaving = self._leaving()
        before = len(self._freed()) + sum(len(t) for t, _ in leaving.values())
        after = sum(not _enters(self.graph, v, self.perm) for v in entering)
        for transposes, others in leaving.values():
            composed = [self._composed(n) for n in transposes]
            after += int(others) + sum(p != tuple(range(len(p))) for p in composed)
        return before, after

    def _composed(self, transpose: Node) -> Permutation:
        """The permutation that takes the rewritten value to what a leaving transpose makes of the old one."""
        assert isinstance(transpose.op, Transpose)
        return tuple(self.perm[a] for a in transpose.op.perm)

    def patch(self) -> Patch:
        graph, names = self.graph, Names(self.graph)
        renamed: dict[str, str] = {}
        constants: dict[str, np.ndarray] = {}
        insert: list[Node] = []
        for value in self._entering():
            producer = graph.producer(value)
            if producer is not None and _enters(graph, value, self.perm):
                renamed[value] = producer.inputs[0]
            else:
                renamed[value] = names(f"{value}:permuted")
                name = names(f"{value}:permute")
                insert.append(Node(name, Transpose(self.inverse), (value,), (renamed[value],)))
        for node in self.members:
            renamed.update((v, names(f"{v}:permuted")) for v in node.outputs)
        insert += [self._permuted(node, renamed, constants, names) for node in self.members]
        for value, (transposes, others) in self._leaving().items():
            insert += [replace(n, op=Transpose(self._composed(n)), inputs=(renamed[value],)) for n in transposes]
            if others:
                made_by = graph.producers[value]
                name = names(f"{value}:restore")
                insert.append(Node(name, Transpose(self.perm), (renamed[value],), (value,), merged_origin((made_by,))))
        leaving = [n.name for transposes, _ in self._leaving().values() for n in transposes]
        return Patch("move-transposes", frozenset((*self.inside, *leaving)), tuple(insert), constants)

    def _permuted(self, node: Node, renamed: dict[str, str], constants: dict[str, np.ndarray], names: Names) -> Node:
        rank = len(self.perm)
        inputs = []
        for value in node.inputs:
            array = self.graph.constants.get(value)
            if array is None:
                inputs.append(renamed[value])
            elif array.size == 1:
                inputs.append(value)
            else:
                full = array.reshape((1,) * (rank - array.ndim) + array.shape)
                name = names(f"{value}:permuted")
                constants[name] = np.ascontiguousarray(full.transpose(self.inverse))
                inputs.append(name)
        outputs = tuple(renamed[v] for v in node.outputs)
        return Node(node.name, _reordered(node.op, self.perm, self.inverse), tuple(inputs), outputs, node.origin)


def _reordered(op: Op, perm: Permutation, inverse: Permutation) -> Op:
    """``op`` on values whose axis ``perm[a]`` is axis ``a`` of the values that it was made for."""

    def pick(values: Sequence[int]) -> tuple[int, ...]:
        return tuple(values[a] for a in inverse)

    if isinstance(op, Concat | Split):
        return replace(op, axis=perm[op.axis])
    if isinstance(op, Pad):
        return replace(op, begin=pick(op.begin), end=pick(op.end))
    if isinstance(op, Slice):
        return Slice(pick(op.starts), pick(op.lengths), pick(op.steps))
    if isinstance(op, Reduction):
        return replace(op, axes=tuple(sorted(perm[a] for a in op.axes)))
    return op
