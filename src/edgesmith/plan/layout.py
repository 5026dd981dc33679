"""Where values lie: axis order of each buffer, and views that make movement operators free."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from edgesmith.ir import Graph, Node, View
from edgesmith.kernels import Place, Region
from edgesmith.ops import Movement, Operator
from edgesmith.ops.concat import Concat

__all__ = ["Layout", "channels_last", "preferred_order"]


def channels_last(rank: int) -> tuple[int, ...]:
    """Axis order of (N, C, *spatial) with the channels innermost."""
    return (0, *range(2, rank), 1) if rank > 2 else tuple(range(rank))


def preferred_order(graph: Graph, node: Node, output: str, orders: Mapping[str, Sequence[int]]) -> tuple[int, ...]:
    """The axis order, outermost first, that the producer of a value likes.

    Args:
        orders: axis orders of the values already placed.
    """
    rank = graph.type(output).rank
    assert isinstance(node.op, Operator)
    if node.op.layout == "channels_last":
        return channels_last(rank)
    if node.op.layout == "like_input":
        shape = graph.type(output).shape
        same = [v for v in node.read if v in orders and graph.type(v).rank == rank]
        full = [v for v in same if graph.type(v).shape == shape]
        if full or same:
            # The largest says most: an axis of length 1 leaves the order open.
            return tuple(orders[max(full or same, key=lambda v: graph.type(v).size)])
    return tuple(range(rank))


def _feeds_image_operator(graph: Graph, value: str) -> bool:
    """Whether a value reaches an operator that works channels-last, at most through operators that keep its layout."""
    rank = graph.type(value).rank
    pending, seen = [value], {value}
    while pending:
        for node in graph.consumers[pending.pop()]:
            assert isinstance(node.op, Operator)
            if node.op.layout == "channels_last":
                return True
            if node.op.layout == "like_input" or isinstance(node.op, Movement):
                fresh = [v for v in node.outputs if v not in seen and graph.type(v).rank == rank]
                seen.update(fresh)
                pending += fresh
    return False


@dataclass
class _Root:
    """A buffer of its own, or the part of a Concat's output that one of its inputs fills."""

    order: tuple[int, ...]
    dense: View
    parent: Node | None = None


class Layout:
    """Places of all values that cross region borders.

    Graph inputs and outputs lie in the caller's memory, row-major; every other root lies in the arena.
    """

    def __init__(self, graph: Graph, regions: Iterable[Region]) -> None:
        self._graph = graph
        self._roots: dict[str, _Root] = {}
        self._alias: dict[str, tuple[str, Node, int]] = {}
        self._pinned = {*graph.inputs, *graph.outputs}
        self.notes: dict[str, str] = {}
        """Node name -> why its move costs a copy, or that it is free."""
        for value in graph.inputs:
            self._add_root(value, tuple(range(graph.type(value).rank)))
        for region in regions:
            self._place_outputs(region)

    def places(self) -> dict[str, Place]:
        """The place of every value."""
        return {v: self.place(v) for v in (*self._roots, *self._alias)}

    def place(self, value: str) -> Place:
        place = self._find(value)
        assert place is not None
        return place

    def _find(self, value: str) -> Place | None:
        """None when the value is a view of a buffer whose strides no longer allow it."""
        if value in self._alias:
            source, node, index = self._alias[value]
            assert isinstance(node.op, Movement)
            base = self._find(source)
            view = node.op.views(base.view)[index] if base else None
            return Place(base.root, view) if base and view else None
        root = self._roots[value]
        if root.parent is None:
            return Place(value, root.dense)
        whole = self.place(root.parent.outputs[0])
        return Place(whole.root, self._part(root.parent, value, whole.view))

    def _part(self, join: Node, value: str, whole: View) -> View:
        """Where an input of a Concat lies in its output."""
        assert isinstance(join.op, Concat)
        return join.op.parts(whole, [self._graph.type(v) for v in join.inputs])[join.inputs.index(value)]

    def order(self, value: str) -> tuple[int, ...]:
        return self.place(value).view.order() if value in self._alias else self._roots[value].order

    def _add_root(self, value: str, order: tuple[int, ...]) -> None:
        self._roots[value] = _Root(order, View.dense(self._graph.type(value), order))

    def _place_outputs(self, region: Region) -> None:
        graph, node = self._graph, region.anchor
        orders = {v: self.order(v) for v in region.inputs}
        if len(region.nodes) == 1 and isinstance(node.op, Movement) and len(region.inputs) == len(node.read) == 1:
            self._place_movement(node)
            return
        for value in region.outputs:
            pinned = value in self._pinned
            order = tuple(range(graph.type(value).rank)) if pinned else self._region_order(region, value, orders)
            self._add_root(value, order)
        if isinstance(node.op, Concat):
            self._embed(node)

    def _region_order(self, region: Region, value: str, orders: Mapping[str, Sequence[int]]) -> tuple[int, ...]:
        anchor = region.anchor
        order = preferred_order(self._graph, anchor, anchor.outputs[0], orders)
        return order if len(order) == self._graph.type(value).rank else tuple(range(self._graph.type(value).rank))

    def _place_movement(self, node: Node) -> None:
        assert isinstance(node.op, Movement)
        source = node.read[0]
        base = self.place(source)
        try:
            views: tuple[View | None, ...] = node.op.views(base.view)
        except NotImplementedError:
            views = (None,) * len(node.outputs)
        for i, value in enumerate(node.outputs):
            if value in self._pinned:
                self._add_root(value, tuple(range(self._graph.type(value).rank)))
                self.notes[node.name] = "copies: its output lies in the caller's memory"
            elif views[i] is None:
                self._add_root(value, self._copy_order(node, value))
                self.notes[node.name] = f"copies: no view of {base.view} has this shape"
            else:
                self._alias[value] = (source, node, i)
                self.notes[node.name] = "free: a view of its input"

    def _copy_order(self, node: Node, value: str) -> tuple[int, ...]:
        """A copy may write any order: the one that the operators which read it work in."""
        if _feeds_image_operator(self._graph, value):
            return channels_last(self._graph.type(value).rank)
        return preferred_order(self._graph, node, value, {v: self.order(v) for v in node.read})

    def _embed(self, join: Node) -> None:
        """Let the producers of a Concat's inputs write straight into their part of its output."""
        reasons = []
        for value in join.inputs:
            reason = self._cannot_embed(join, value)
            if reason:
                reasons.append(f"{value}: {reason}")
            else:
                self._roots[value].parent = join
        self.notes[join.name] = "copies " + "; ".join(reasons) if reasons else "free: its inputs are written in place"

    def _cannot_embed(self, join: Node, value: str) -> str | None:
        if value in self._graph.constants:
            return "a constant"
        if value in self._pinned:
            return "lies in the caller's memory"
        if value in self._alias:
            return "a view of another buffer"
        if join.inputs.count(value) > 1:
            return "joined more than once"
        root = self._roots[value]
        if root.parent is not None:
            return "already part of another buffer"
        if root.dense.order() != self._part(join, value, self._roots[join.outputs[0]].dense).order():
            return "another axis order"
        root.parent = join
        possible = all(self._find(alias) for alias in self._alias)
        root.parent = None
        return None if possible else "read through a view that needs it gapless"
