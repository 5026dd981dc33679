"""The pass engine: sweeps every pass over the graph until none has anything to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from edgesmith.errors import GraphError
from edgesmith.ir import Graph, Patch, apply
from edgesmith.registry import Registry

__all__ = ["PASSES", "Pass", "PassReport", "optimize", "rewrite"]

Pass = Callable[[Graph], Iterator["Patch | Skipped"]]
"""Yields a patch for each place where it applies, and ``Skipped`` for each that it looked at and left."""

MAX_SWEEPS = 50
PASSES: Registry[Pass] = Registry("pass", "edgesmith.passes")
rewrite = PASSES.register


@dataclass(frozen=True)
class Skipped:
    """A place that a pass looked at and left, with the reason."""

    node: str
    reason: str


@dataclass
class PassReport:
    """What the passes did: rewrites by pass, and the places they left with the reason (as of the last sweep)."""

    applied: Counter[str] = field(default_factory=Counter)
    skipped: dict[tuple[str, str], str] = field(default_factory=dict)


def optimize(graph: Graph, only: frozenset[str] | None = None) -> tuple[Graph, PassReport]:
    """The canonical form of ``graph`` and the report.

    Args:
        only: names of the passes to run (default: all).
    """
    report = PassReport()
    for _ in range(MAX_SWEEPS):
        changed = False
        for name, rewrite_graph in PASSES.items():
            if only is not None and name not in only:
                continue
            patches: list[Patch] = []
            touched: set[str] = set()
            for found in rewrite_graph(graph):
                if isinstance(found, Skipped):
                    report.skipped[name, found.node] = found.reason
                    continue
                near = _neighbourhood(graph, found)
                if not near & touched:
                    touched |= near
                    patches.append(found)
            if patches:
                graph = apply(graph, patches)
                report.applied[name] += len(patches)
                changed = True
        if not changed:
            return graph, report
    raise GraphError(f"passes did not settle after {MAX_SWEEPS} sweeps", where=graph.name)


def _neighbourhood(graph: Graph, patch: Patch) -> set[str]:
    """Nodes whose removal or change by another patch of the same sweep would invalidate this one."""
    near = set(patch.remove)
    for value in (*patch.rename, *patch.rename.values(), *(v for n in patch.insert for v in n.read)):
        producer = graph.producer(value)
        if producer is not None:
            near.add(producer.name)
    for old in patch.rename:
        near |= {n.name for n in graph.consumers.get(old, ())}
    return near
