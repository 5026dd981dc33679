"""Values that movement connects share one range, so that bytes move as they are."""

from __future__ import annotations

from collections.abc import Mapping

from edgesmith.ir import Graph, Node
from edgesmith.quantize.parameters import Range
from edgesmith.quantize.placement import Role, role

__all__ = ["shared_ranges"]

_FINER = 2.0
"""A value that is so many times narrower than the concatenation it goes into keeps its own, finer scale."""


def shared_ranges(graph: Graph, ranges: Mapping[str, Range]) -> dict[str, Range]:
    """The ranges of values that are stored as integers, equal for those that differ by movement alone.

    What a movement reads gets the range of what it makes, and the other way round: the hull of the ranges of those of
    them that arithmetic reads. The inputs of a Concat get the range of its output; an input that has other readers,
    and a range less than half as wide, keeps its own and is rounded once more.
    """
    groups = _Groups(graph, ranges)
    moves = [n for n in graph.nodes if role(n.op) is Role.MOVE]
    for node in moves:
        if len(_operands(graph, node)) == 1:
            groups.join(*(v for v in (*node.read, *node.outputs) if v in ranges))
    for node in moves:
        (result, *_) = node.outputs
        operands = [v for v in _operands(graph, node) if v in ranges]
        if len(operands) > 1 and result in ranges:
            for value in operands:
                hull = groups.hull(value)
                if hull is None or _width(ranges[result]) < _FINER * _width(hull):
                    groups.join(value, result)
    return {v: groups.hull(v) or ranges[v] for v in ranges}


class _Groups:
    """Disjoint sets of values."""

    def __init__(self, graph: Graph, ranges: Mapping[str, Range]) -> None:
        self._graph, self._ranges = graph, ranges
        self._members = {v: [v] for v in ranges}

    def join(self, *values: str) -> None:
        """Make one set of those that hold ``values``."""
        first, *others = values or ("",)
        for value in others:
            if self._members[value] is not self._members[first]:
                self._members[first] += self._members[value]
                for member in self._members[value]:
                    self._members[member] = self._members[first]

    def hull(self, value: str) -> Range | None:
        """The range of all members that arithmetic reads; None where there is none."""
        found = [self._ranges[v] for v in self._members[value] if self._is_used(v)]
        return (min(r[0] for r in found), max(r[1] for r in found)) if found else None

    def _is_used(self, value: str) -> bool:
        return any(role(reader.op) is not Role.MOVE for reader in self._graph.consumers[value])


def _operands(graph: Graph, node: Node) -> list[str]:
    """The values that a movement moves."""
    kind = graph.type(node.outputs[0]).dtype
    return [v for v in dict.fromkeys(node.read) if v not in graph.constants and graph.type(v).dtype is kind]


def _width(range: Range) -> float:
    return max(range[1], 0.0) - min(range[0], 0.0)
