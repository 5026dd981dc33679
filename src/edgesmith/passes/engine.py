"""The pass engine: sweeps every pass over the graph until none has anything to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from edgesmith.ir import Graph, Patch, apply
from edgesmith.registry import Registry

__all__ = ["PASSES", "Pass", "PassReport", "Rewrite", "Skipped", "optimize", "rewrite"]

Pass = Callable[[Graph], Iterator["Patch | Skipped"]]
"""Yields a patch for each place where it applies, and ``Skipped`` for each that it looked at and left.

A value keeps its meaning as long as its name exists: a patch may drop a value or rename it, but gives a new name to
anything that differs from what the model computes (a transposed or scaled version). So any value that the result still
has can be compared with the same value of the source model.
"""

MAX_SWEEPS = 200
PASSES: Registry[Pass] = Registry("pass", "edgesmith.passes")
rewrite = PASSES.register


@dataclass(frozen=True)
class Skipped:
    """A place that a pass looked at and left, with the reason."""

    node: str
    reason: str


@dataclass(frozen=True)
class Rewrite:
    """One applied patch: the pass, the nodes that went, the nodes that came."""

    rule: str
    removed: tuple[str, ...]
    inserted: tuple[str, ...]


@dataclass
class PassReport:
    """What the passes did.

    Args:
        applied: number of rewrites by pass.
        rewrites: every rewrite, in order.
        skipped: (pass, node) -> why the pass left that node of the result as it is.
        renamed: values that went -> equal ones that are read instead.
        sweeps: sweeps over the graph, the last of which changed nothing.
        settled: False when the passes were still rewriting after ``MAX_SWEEPS``: the result is right, not canonical.
    """

    applied: Counter[str] = field(default_factory=Counter)
    rewrites: list[Rewrite] = field(default_factory=list)
    skipped: dict[tuple[str, str], str] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)
    sweeps: int = 0
    settled: bool = False

    def reasons(self, node: str) -> dict[str, str]:
        """Pass -> why it left ``node``."""
        return {rule: reason for (rule, name), reason in self.skipped.items() if name == node}


def optimize(
    graph: Graph, only: frozenset[str] | None = None, allowed: Callable[[Graph, Patch], bool] | None = None
) -> tuple[Graph, PassReport]:
    """The canonical form of ``graph`` and the report. Inputs and outputs keep their names, types and order.

    A sweep runs every pass (in the order of their files' names) over one graph and applies all patches that do not
    touch one another at once; the others come again in the next sweep.

    Args:
        only: names of the passes to run (default: all).
        allowed: whether to apply a patch to a graph (default: each).
    """
    report = PassReport()
    ordered = sorted(PASSES.items(), key=lambda item: item[1].__module__)
    passes = {name: run for name, run in ordered if only is None or name in only}
    while report.sweeps < MAX_SWEEPS and not report.settled:
        report.sweeps += 1
        patches, report.skipped = _sweep(graph, passes, allowed)
        position = graph.position
        for patch in patches:
            removed = sorted(patch.remove, key=position.__getitem__)
            report.rewrites.append(Rewrite(patch.rule, tuple(removed), tuple(n.name for n in patch.insert)))
            report.applied[patch.rule] += 1
            report.renamed.update(patch.rename)
        graph = apply(graph, patches) if patches else graph
        report.settled = not patches
    return graph, report


def _sweep(
    graph: Graph, passes: Mapping[str, Pass], allowed: Callable[[Graph, Patch], bool] | None
) -> tuple[list[Patch], dict[tuple[str, str], str]]:
    """Disjoint patches from all passes, first come, and what was left."""
    patches: list[Patch] = []
    skipped: dict[tuple[str, str], str] = {}
    touched: set[str] = set()
    created: set[str] = set()
    for name, run in passes.items():
        for found in run(graph):
            if isinstance(found, Skipped):
                skipped[name, found.node] = found.reason
                continue
            if allowed is not None and not allowed(graph, found):
                continue
            near = _neighbourhood(graph, found)
            new = _names(graph, found)
            if near & touched or new & created:
                continue
            touched |= near
            created |= new
            patches.append(found)
    return patches, skipped


def _neighbourhood(graph: Graph, patch: Patch) -> set[str]:
    """Nodes whose removal or change by another patch of the same sweep would invalidate this one."""
    near = set(patch.remove)
    values = {*patch.rename, *patch.rename.values(), *(v for n in patch.insert for v in n.read)}
    for value in values:
        producer = graph.producer(value)
        if producer is not None:
            near.add(producer.name)
    for old in patch.rename:
        near.update(n.name for n in graph.consumers.get(old, ()))
    return near


def _names(graph: Graph, patch: Patch) -> set[str]:
    """Names that the patch adds to the graph, of nodes and values alike."""
    made = {name for n in patch.insert for name in (n.name, *n.outputs)} | patch.constants.keys()
    return {name for name in made if name not in graph.position and name not in graph.types}
