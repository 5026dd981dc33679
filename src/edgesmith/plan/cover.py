"""Covering the graph with regions by cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

from edgesmith.errors import NoKernel
from edgesmith.ir import Graph, View
from edgesmith.kernels import KERNELS, Place, Problem, Region
from edgesmith.kernels.region import region
from edgesmith.ops import Movement, Operator
from edgesmith.plan.layout import channels_last
from edgesmith.plan.select import CostModel, analytic, choose
from edgesmith.target import Target

__all__ = ["cover"]


@dataclass(frozen=True)
class _Candidate:
    region: Region
    saving_ns: float


def cover(
    graph: Graph, target: Target, cost: CostModel = analytic, only: frozenset[str] | None = None
) -> tuple[Region, ...]:
    """Regions that cover every node once, in topological order.

    Each kernel proposes regions; those whose predicted time is less than that of their nodes one by one are taken,
    largest saving first, as long as they are disjoint. Predictions assume that values lie in their preferred layout.
    """
    places = assumed_places(graph)
    single = {}
    for node in graph.nodes:
        alone = region(graph, (node,), node)
        single[node.name] = _time(Problem(graph, alone, places, target), cost, only)
    candidates: dict[frozenset[str], _Candidate] = {}
    for node in graph.nodes:
        for kernel in KERNELS.values():
            for proposed in kernel.regions(graph, node):
                if len(proposed.nodes) < 2 or proposed.names in candidates:
                    continue
                problem = Problem(graph, proposed, places, target)
                saving = sum(single[n.name] for n in proposed.nodes) - _time(problem, cost, only)
                if saving > 0:
                    candidates[proposed.names] = _Candidate(proposed, saving)
    taken: dict[str, Region] = {}
    for candidate in sorted(candidates.values(), key=lambda c: (-c.saving_ns, graph.position[c.region.anchor.name])):
        if not candidate.region.names & taken.keys():
            taken.update(dict.fromkeys(candidate.region.names, candidate.region))
    for node in graph.nodes:
        if node.name not in taken:
            taken[node.name] = region(graph, (node,), node)
    return _sorted(graph, {id(r): r for r in taken.values()})


def assumed_places(graph: Graph) -> dict[str, Place]:
    """Places before any layout is decided: image operators and what follows them have channels innermost."""
    orders: dict[str, tuple[int, ...]] = {v: tuple(range(graph.type(v).rank)) for v in graph.inputs}
    for node in graph.nodes:
        assert isinstance(node.op, Operator)
        image = node.op.layout == "channels_last" or any(
            v in orders and orders[v] != tuple(range(len(orders[v]))) for v in node.read
        )
        for value in node.outputs:
            rank = graph.type(value).rank
            orders[value] = channels_last(rank) if image else tuple(range(rank))
    return {v: Place(v, View.dense(graph.type(v), order)) for v, order in orders.items()}


def _time(problem: Problem, cost: CostModel, only: frozenset[str] | None) -> float:
    if isinstance(problem.anchor.op, Movement) and len(problem.region.nodes) == 1:
        return 0.0
    try:
        return choose(problem, cost, only).cost_ns
    except NoKernel:
        return float("inf")


def _sorted(graph: Graph, regions: Mapping[int, Region]) -> tuple[Region, ...]:
    """Topological order of the regions, each as early as its last operand allows, ties by the graph's order."""
    made_by = {v: key for key, r in regions.items() for n in r.nodes for v in n.outputs}
    waits = {key: {made_by[v] for v in r.inputs if v in made_by} for key, r in regions.items()}
    followers: dict[int, list[int]] = {key: [] for key in regions}
    for key, needs in waits.items():
        for need in needs:
            followers[need].append(key)
    rank = {key: max(graph.position[n.name] for n in r.nodes) for key, r in regions.items()}
    ready = [(rank[key], key) for key, needs in waits.items() if not needs]
    heapify(ready)
    order = []
    while ready:
        _, key = heappop(ready)
        order.append(regions[key])
        for follower in followers[key]:
            waits[follower].discard(key)
            if not waits[follower]:
                heappush(ready, (rank[follower], follower))
    assert len(order) == len(regions), "regions depend on one another in a circle"
    return tuple(order)
