"""Values of a graph that have the elements of a traced node's value, in another order perhaps."""

from __future__ import annotations

from collections.abc import Container, Sequence

from edgesmith.ir import Graph
from edgesmith.quantize.placement import Role, role

__all__ = ["inherited"]


def inherited(graph: Graph, stored: Sequence[str], names: Container[str]) -> dict[str, str]:
    """For values without a name the one with a name whose elements they have, in another order perhaps."""
    found: dict[str, str] = {}
    for value in stored:
        source = _moved_from(graph, value)
        if value in names or source is None or source not in stored:
            continue
        if source in names or source in found:
            found[value] = found.get(source, source)
    for value in reversed(stored):
        reader = graph.sole_consumer(value)
        if value in names or value in found or reader is None:
            continue
        result = reader.outputs[0]
        if _moved_from(graph, result) == value and result in stored and (result in names or result in found):
            found[value] = found.get(result, result)
    return found


def _moved_from(graph: Graph, value: str) -> str | None:
    """The one value whose elements are moved to make ``value``."""
    node = graph.producer(value)
    if node is None or role(node.op) is not Role.MOVE:
        return None
    sources = [v for v in node.read if v not in graph.constants]
    return sources[0] if len(sources) == 1 else None
