"""Covering the graph with regions by cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

__all__ = ["Proposal", "cover", "proposals"]


@dataclass(frozen=True)
class Proposal:
    """A region of several nodes and what it saves against computing them one by one."""

    region: Region
    saving_ns: float


def proposals(
    graph: Graph, target: Target, cost: CostModel = analytic, only: frozenset[str] | None = None
) -> tuple[Proposal, ...]:
    """Every region that some kernel proposes and computes faster than its nodes one by one, largest saving first.

    Predictions assume that values lie in their preferred layout.
    """
    places = assumed_places(graph)
    single = {}
    for node in graph.nodes:
        alone = region(graph, (node,), node)
        single[node.name] = _time(Problem(graph, alone, places, target), cost, only)
    found: dict[frozenset[str], Proposal] = {}
    for node in graph.nodes:
        for kernel in KERNELS.values():
            for proposed in kernel.regions(graph, node):
                if len(proposed.nodes) < 2 or proposed.names in found:
                    continue
                problem = Problem(graph, proposed, places, target)
                saving = sum(single[n.name] for n in proposed.nodes) - _time(problem, cost, only)
                if saving > 0:
                    found[proposed.names] = Proposal(proposed, saving)
    return tuple(sorted(found.values(), key=lambda p: (-p.saving_ns, graph.position[p.region.anchor.name])))


def cover(graph: Graph, proposed: Sequence[Proposal]) -> tuple[Region, ...]:
    """Regions that cover every node once, in topological order: the first disjoint proposals, single nodes elsewhere.

    Two regions with several outputs may each need an output of the other; the later one is left out.
    """
    taken: dict[str, Region] = {}
    for proposal in proposed:
        candidate = proposal.region
        if candidate.names & taken.keys():
            continue
        own = dict.fromkeys(candidate.names, candidate)
        if len(candidate.outputs) == 1 or _sorted(graph, taken | own) is not None:
            taken.update(own)
    result = _sorted(graph, taken)
    assert result is not None
    return result


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


def _sorted(graph: Graph, taken: Mapping[str, Region]) -> tuple[Region, ...] | None:
    """The regions and the nodes outside of them in topological order, None when regions depend on one another.

    Each comes as early as its last operand allows, ties by the graph's order.

    Args:
        taken: region of each node that is in one.
    """
    regions = {r.anchor.name: r for r in taken.values()}
    regions |= {n.name: region(graph, (n,), n) for n in graph.nodes if n.name not in taken}
    made_by = {v: key for key, r in regions.items() for n in r.nodes for v in n.outputs}
    waits = {key: {made_by[v] for v in r.inputs if v in made_by} for key, r in regions.items()}
    followers: dict[str, list[str]] = {key: [] for key in regions}
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
    return tuple(order) if len(order) == len(regions) else None
