"""Covering the graph with regions by cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

from edgesmith.errors import NoKernel
from edgesmith.ir import Graph, Node, View
from edgesmith.kernels import KERNELS, Place, Problem, Region, refusal
from edgesmith.kernels.region import region
from edgesmith.ops import Elementwise, Movement, Operator
from edgesmith.plan.layout import channels_last
from edgesmith.plan.select import Selector

__all__ = ["Proposal", "cover", "in_order", "proposals"]

MAX_STATES = 4096
FUSED_SHARE = 0.5
DISTURBED = 1.5
"""Times that are farther apart than by this factor do not differ by chance."""
IMPOSSIBLE_NS = 1e15
"""Stands for the time of a node that no kernel computes by itself; finite, so that sums of it compare."""


@dataclass(frozen=True)
class Proposal:
    """A region of several nodes and what it saves against computing them one by one."""

    region: Region
    saving_ns: float


def proposals(graph: Graph, selector: Selector) -> tuple[Proposal, ...]:
    """Every region that some kernel proposes and computes faster than its nodes one by one, largest saving first.

    Predictions assume that values lie in their preferred layout.
    """
    places = assumed_places(graph)
    single = {}
    for node in graph.nodes:
        alone = region(graph, (node,), node)
        single[node.name] = _time(Problem(graph, alone, places, selector.target), selector)
    found: dict[frozenset[str], Proposal] = {}
    for node in graph.nodes:
        for kernel in KERNELS.values():
            for proposed in kernel.regions(graph, node):
                if len(proposed.nodes) < 2 or proposed.names in found:
                    continue
                problem = Problem(graph, proposed, places, selector.target)
                apart, fused = sum(single[n.name] for n in proposed.nodes), _time(problem, selector)
                saving = apart - fused
                if fused <= DISTURBED * apart:
                    saving = max(saving, _least_saving(problem, single, selector))
                if saving > 0:
                    found[proposed.names] = Proposal(proposed, saving)
    if selector.target.is_bare:
        shrinking = _shrinking(graph, found.values())
        found = {k: p for k, p in found.items() if p.region.nodes[-1].name not in shrinking}
    return tuple(sorted(found.values(), key=lambda p: (-p.saving_ns, graph.position[p.region.anchor.name])))


def _shrinking(graph: Graph, proposed: Iterable[Proposal]) -> frozenset[str]:
    """Nodes that begin a region with a value larger than the region's result: inside it, the value never exists whole.

    Where memory is what lacks, no other region ends with them.
    """

    def nbytes(values: Iterable[str]) -> int:
        return sum(graph.type(v).nbytes for v in values)

    regions = (p.region for p in proposed)
    return frozenset(r.nodes[0].name for r in regions if nbytes(r.nodes[0].outputs) > nbytes(r.outputs))


def _least_saving(problem: Problem, single: Mapping[str, float], selector: Selector) -> float:
    """What elementwise operators save that follow an anchor and read nothing else: a share of their time alone.

    Operators that call functions do not count: what they save is little next to what they compute. The kernel that is
    best for the anchor alone applies the others to what it is about to store. Times are measured apart and differ by
    chance, often by more than such an operator takes.
    """
    fused, graph = problem.region, problem.graph
    followers = [n for n in fused.nodes if n is not fused.anchor]
    anchor = Problem(graph, region(graph, (fused.anchor,), fused.anchor), problem.places, problem.target)
    if fused.inputs != anchor.region.inputs or not all(isinstance(n.op, Elementwise) for n in followers):
        return 0.0
    if not selector.accepts(anchor) or refusal(selector.choose(anchor).kernel, problem) is not None:
        return 0.0
    return FUSED_SHARE * sum(single[n.name] for n in followers if not _calls_functions(graph, n))


def _calls_functions(graph: Graph, node: Node) -> bool:
    return isinstance(node.op, Operator) and bool(node.op.c_functions(graph.input_types(node)))


def cover(graph: Graph, proposed: Sequence[Proposal]) -> tuple[Region, ...]:
    """The regions that together save most, single nodes elsewhere: every node once, in topological order.

    Two regions with several outputs may each need an output of the other; of such regions the one that saves least is
    given up and the rest is covered again.
    """
    allowed = list(proposed)
    while True:
        taken = _largest_saving(graph, allowed)
        order, stuck = in_order(graph, [p.region for p in taken])
        if not stuck:
            return order
        mutual = [p for p in taken if p.region in stuck and len(p.region.outputs) > 1]
        allowed.remove(min(mutual, key=lambda p: p.saving_ns))


def _largest_saving(graph: Graph, proposed: Sequence[Proposal]) -> list[Proposal]:
    """Disjoint proposals with the largest sum of savings, by dynamic programming along the topological order.

    After the first i nodes, all that matters is which later nodes are taken already: a bit mask relative to i. Regions
    are local, so there are few masks; only where parallel branches make more than ``MAX_STATES`` is the result that of
    a beam search.
    """
    starting: dict[int, list[tuple[int, Proposal]]] = {}
    for proposal in proposed:
        positions = sorted(graph.position[n.name] for n in proposal.region.nodes)
        mask = sum(1 << (p - positions[0]) for p in positions)
        starting.setdefault(positions[0], []).append((mask, proposal))
    states: dict[int, _Partial] = {0: _Partial(0.0)}
    for i in range(len(graph.nodes)):
        following: dict[int, _Partial] = {}
        for mask, partial in states.items():
            _offer(following, mask >> 1, partial)
            if mask & 1:
                continue
            for own, proposal in starting.get(i, ()):
                if not own & mask:
                    saving = partial.saving_ns + proposal.saving_ns
                    _offer(following, (mask | own) >> 1, _Partial(saving, proposal, partial))
        if len(following) > MAX_STATES:
            best = sorted(following.items(), key=lambda s: -s[1].saving_ns)[:MAX_STATES]
            following = dict(best)
        states = following
    return states[0].proposals()


@dataclass(frozen=True, eq=False)
class _Partial:
    """The best choice among the nodes so far: the last proposal taken, and the choice before it."""

    saving_ns: float
    last: Proposal | None = None
    before: _Partial | None = None

    def proposals(self) -> list[Proposal]:
        found = []
        at: _Partial | None = self
        while at is not None:
            if at.last is not None:
                found.append(at.last)
            at = at.before
        return found[::-1]


def _offer(states: dict[int, _Partial], mask: int, partial: _Partial) -> None:
    known = states.get(mask)
    if known is None or partial.saving_ns > known.saving_ns:
        states[mask] = partial


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


def _time(problem: Problem, selector: Selector) -> float:
    if isinstance(problem.anchor.op, Movement) and len(problem.region.nodes) == 1:
        return 0.0
    try:
        return selector.choose(problem).cost_ns
    except NoKernel:
        return IMPOSSIBLE_NS


def in_order(graph: Graph, taken: Iterable[Region]) -> tuple[tuple[Region, ...], frozenset[Region]]:
    """The regions and the nodes outside of them in topological order, and those left because they need one another.

    Each comes as early as its last operand allows, ties by the graph's order.
    """
    regions = {r.anchor.name: r for r in taken}
    inside = {n.name for r in regions.values() for n in r.nodes}
    regions |= {n.name: region(graph, (n,), n) for n in graph.nodes if n.name not in inside}
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
        order.append(regions.pop(key))
        for follower in followers[key]:
            waits[follower].discard(key)
            if not waits[follower]:
                heappush(ready, (rank[follower], follower))
    return tuple(order), frozenset(regions.values())
