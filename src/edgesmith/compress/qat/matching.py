"""Which layers of a traced network are which products of its graph, and which of its nodes read rounded values."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from torch import fx

from edgesmith.compress.qat.exporting import Exported
from edgesmith.compress.qat.inheritance import inherited
from edgesmith.ir import DType, Graph, Node
from edgesmith.quantize import Settings
from edgesmith.quantize.placement import Placement, Role, place, reads_integers, role
from edgesmith.quantize.products import Product, product

__all__ = ["Sites", "is_moved_only", "rounded_readers", "sites"]


@dataclass(frozen=True, eq=False)
class Sites:
    """What of a graph is quantised.

    Args:
        settings: with what is not quantised excluded.
        products: by the name of the traced call of a layer.
        biased: of these, those whose bias is added to the sums, rather than by an Add behind.
        others: products of layers that read something else than integers.
        floats: why others stay in floats, by node name.
        unread: the same of layers whose input has no rounded form, by the name of the traced call.
    """

    exported: Exported
    settings: Settings
    products: Mapping[str, Product]
    biased: frozenset[str]
    others: Mapping[str, Product]
    floats: Mapping[str, str]
    unread: Mapping[str, str]
    placement: Placement


def sites(found: Exported, weights: Mapping[str, np.ndarray], others: Collection[str], settings: Settings) -> Sites:
    """Find the layers of a network in its graph.

    Args:
        weights: of the layers to quantise (output channels first), by the names of their calls.
        others: of these, those that do not read integers.
    """
    graph = found.graph
    products: dict[str, Product] = {}
    floats: dict[str, str] = {}
    nameless: list[Product] = []
    for node in graph.nodes:
        if role(node.op) is not Role.PRODUCT:
            continue
        form = product(graph, node)
        if isinstance(form, str):
            floats[node.name] = form
            continue
        name = _call(found, node, weights)
        if name is not None and _is_same(form, weights[name]):
            products[name] = form
        else:
            nameless.append(form)
    for form in nameless:
        same = [n for n, w in weights.items() if n not in products and _is_same(form, w)]
        if len(same) == 1:
            products[same[0]] = form
        else:
            floats[form.node.name] = "it is no layer that was asked for"
    apart = {name: products.pop(name) for name in others if name in products}
    excluded = {*floats, *(form.node.name for form in apart.values())}
    unread: dict[str, str] = {}
    while True:
        settings = replace(settings, exclude=tuple(excluded))
        placement = place(graph, settings)
        known = {*found.names, *inherited(graph, placement.values, found.names)}
        for name in [n for n, form in products.items() if form.input not in known]:
            node = products.pop(name).node
            unread[name] = floats[node.name] = "its input is not computed by any traced operation"
        more = {*floats, *_read_both_ways(found, placement, settings)} - excluded
        if not more:
            break
        excluded |= more
    biased = frozenset(name for name, form in products.items() if form.bias is not None)
    return Sites(found, settings, products, biased, apart, floats, unread, placement)


def _read_both_ways(found: Exported, placement: Placement, settings: Settings) -> Iterator[str]:
    """Nodes that read the rounded form of a value, though the same traced operation reads the exact one as well."""
    graph, names = found.graph, found.names
    for value in placement.values:
        rounded: set[Node] = set()
        exact: set[Node] = set()
        for reader in graph.consumers[value]:
            is_rounded = reads_integers(graph, reader, placement.products.keys(), settings)
            (rounded if is_rounded else exact).add(reader)
        both = {name for reader in exact for name in _given(graph, reader, names)}
        for reader in rounded:
            if role(reader.op) is not Role.PRODUCT and both & _given(graph, reader, names):
                yield reader.name


def _call(found: Exported, node: Node, known: Collection[str]) -> str | None:
    """The traced call that a product computes, with movement and the addition of its bias behind it perhaps."""
    (value,) = node.outputs
    while found.names.get(value) not in known:
        reader = found.graph.sole_consumer(value)
        if value in found.names or reader is None or not _is_part(found.graph, reader):
            return None
        value = reader.outputs[0]
    return found.names[value]


def _is_part(graph: Graph, node: Node) -> bool:
    constants = [v for v in node.read if v in graph.constants]
    return role(node.op) is Role.MOVE or (node.op.name == "Add" and len(constants) == 1)


def _is_same(form: Product, weights: np.ndarray) -> bool:
    mine = form.weights if form.axis == 0 else form.weights.T
    return mine.shape == weights.shape and bool(np.allclose(mine, weights, rtol=1e-4, atol=1e-7))


def is_moved_only(graph: Graph, node: Node | None) -> bool:
    """Whether all elements that a node gives are elements of values that it reads, so that rounded ones stay so."""
    if node is None or role(node.op) is not Role.MOVE or node.op.name == "Pad":
        return False
    return not any(v in graph.constants and graph.type(v).dtype is DType.F32 for v in node.read)


def rounded_readers(found: Sites, value: str, node: fx.Node) -> Iterator[fx.Node]:
    """The traced nodes that read ``value``, which ``node`` computes, in its rounded form."""
    graph, names = found.exported.graph, found.exported.names
    readers = {r.name: r for r in graph.consumers[value]}
    names_of_products = found.placement.products.keys()
    rounded = {n for n, r in readers.items() if reads_integers(graph, r, names_of_products, found.settings)}
    elsewhere = _given_beside(graph, value, names) - {n for r in readers.values() for n in _given(graph, r, names)}
    for user in node.users:
        if user.op == "output" or (elsewhere and _named_after(user, set(names.values())) <= elsewhere):
            continue
        if len(rounded) == len(readers):
            yield user
            continue
        after = _named_after(user, set(names.values()))
        mine = {n for n, r in readers.items() if after & _given(graph, r, names)}
        if (mine or readers.keys()) & rounded:
            yield user


def _named_after(node: fx.Node, names: Collection[str]) -> set[str]:
    """The nearest traced nodes, from ``node`` on, that the graph has a value of."""
    if node.name in names or node.op == "output":
        return {node.name}
    return {n for user in node.users for n in _named_after(user, names)}


def _given_beside(graph: Graph, value: str, names: Mapping[str, str]) -> set[str]:
    """The nearest traced nodes that have the values given by what reads ``value``'s elements before they are moved.

    Passes of the graph keep a value in the order of its axes that suits the next layer, and such readers in another.
    """
    found: set[str] = set()
    while is_moved_only(graph, node := graph.producer(value)):
        assert node is not None
        sources = [v for v in node.read if v not in graph.constants]
        if len(sources) != 1 or sources[0] in names:
            break
        (value,) = sources
        found |= {n for r in graph.consumers[value] if r is not node for n in _given(graph, r, names)}
    return found


def _given(graph: Graph, node: Node, names: Mapping[str, str]) -> set[str]:
    """The nearest traced nodes that have the values that a node gives."""
    found = set()
    for value in node.outputs:
        if value in names:
            found.add(names[value])
        else:
            found |= {n for reader in graph.consumers[value] for n in _given(graph, reader, names)}
    return found
