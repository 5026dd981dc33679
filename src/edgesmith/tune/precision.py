"""Which products of a network multiply integers and which stay in floats, by time, conversions included."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from edgesmith.ir import Graph
from edgesmith.plan import CostModel, Plan, make_plan
from edgesmith.target import Target

__all__ = ["Layer", "PrecisionChoice", "choose_precision"]

CONVERSION_NS = 300.0
CONVERSION_BYTES_PER_NS = 16.0
CONVERSION_BYTES = 5
"""A float read and a byte written, or the other way round."""


@dataclass(frozen=True)
class Layer:
    """Times of one product in nanoseconds, with what is fused to it.

    Args:
        floats: whether it stays in floats.
    """

    float_ns: float
    integer_ns: float
    floats: bool


@dataclass(frozen=True)
class PrecisionChoice:
    """What was chosen, and the whole network's times for it, for floats alone and for integers wherever possible.

    Args:
        layers: by the name of the product's node.
    """

    layers: Mapping[str, Layer]
    chosen_ns: float
    float_ns: float
    integer_ns: float

    @property
    def floats(self) -> frozenset[str]:
        """Names of the products that stay in floats."""
        return frozenset(name for name, layer in self.layers.items() if layer.floats)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def choose_precision(
    products: Sequence[str],
    graph_of: Callable[[frozenset[str]], Graph],
    target: Target,
    cost: CostModel,
    only: Sequence[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> PrecisionChoice:
    """Plan the network in floats and in integers, mix them where that saves time, and take the fastest plan.

    The mixture minimises the sum of each product's time and of a conversion wherever two neighbours differ, by flipping
    single products and pairs of neighbours as long as that helps; its plan, with the conversions that it really needs,
    then competes with the two pure ones.

    Args:
        products: names of the nodes that can multiply integers.
        graph_of: the optimised graph in which some of them stay in floats.
        cost: predicted or measured time of a kernel.
    """
    every = frozenset(products)
    plans: dict[frozenset[str], Plan] = {}

    def planned(floats: frozenset[str]) -> Plan:
        if floats not in plans:
            plans[floats] = make_plan(graph_of(floats), target, cost, only)
            if progress:
                progress(len(plans), 4)
        return plans[floats]

    in_floats, in_integers = _times(planned(every), every), _times(planned(frozenset()), every)
    links = _links(planned(every).graph, every)
    candidates = [every, frozenset(), _cheapest(in_floats, in_integers, links, frozenset())]
    candidates.append(_cheapest(in_floats, in_integers, links, candidates[-1] | _faster(in_floats, in_integers)))
    totals = {floats: _total(planned(floats)) for floats in candidates}
    chosen = min(totals, key=lambda floats: (totals[floats], len(floats), sorted(floats)))
    layers = {name: Layer(in_floats[name], in_integers[name], name in chosen) for name in products}
    return PrecisionChoice(layers, totals[chosen], totals[every], totals[frozenset()])


def _total(plan: Plan) -> float:
    return sum(step.choice.cost_ns for step in plan.steps)


def _times(plan: Plan, products: frozenset[str]) -> dict[str, float]:
    """The time of each product: its share, by multiply-adds, of the step that computes it."""
    times = dict.fromkeys(products, 0.0)
    for step in plan.steps:
        inside = {n.name: plan.graph.cost(n).macs for n in step.region.nodes if n.name in products}
        macs = sum(inside.values())
        for name, own in inside.items():
            times[name] += step.choice.cost_ns * (own / macs if macs else 1 / len(inside))
    return times


def _faster(in_floats: Mapping[str, float], in_integers: Mapping[str, float]) -> frozenset[str]:
    return frozenset(name for name, time in in_floats.items() if time < in_integers[name])


Links = Mapping[tuple[str, str], float]
"""Pairs of products, one of which reads what the other computes, with the time of a conversion between them."""


def _links(graph: Graph, products: frozenset[str]) -> Links:
    sources: dict[str, frozenset[str]] = {}
    found: dict[tuple[str, str], float] = {}
    for node in graph.nodes:
        before = frozenset[str]().union(*(sources.get(v, frozenset()) for v in node.read))
        if node.name in products:
            size = graph.type(node.inputs[0]).size
            for name in before:
                found[name, node.name] = CONVERSION_NS + size * CONVERSION_BYTES / CONVERSION_BYTES_PER_NS
            before = frozenset((node.name,))
        sources.update(dict.fromkeys(node.outputs, before))
    return found


def _cheapest(
    in_floats: Mapping[str, float], in_integers: Mapping[str, float], links: Links, start: frozenset[str]
) -> frozenset[str]:
    """The products in floats after flipping single ones and linked pairs from ``start`` on, as long as that helps."""

    def cost(floats: frozenset[str]) -> float:
        own = sum(in_floats[n] if n in floats else in_integers[n] for n in in_floats)
        return own + sum(time for (a, b), time in links.items() if (a in floats) != (b in floats))

    moves = [frozenset((name,)) for name in in_floats] + [frozenset(pair) for pair in links]
    best, least = start, cost(start)
    improved = True
    while improved:
        improved = False
        for move in moves:
            trial = best ^ move
            now = cost(trial)
            if now < least:
                best, least, improved = trial, now, True
    return best
