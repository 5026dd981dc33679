"""Patch by patch: the first layers of a network computed for one part of the image after another.

The large values at the beginning then never exist whole; what neighbouring parts both need is computed twice (Lin et
al., "MCUNetV2: Memory-Efficient Patch-based Inference for Tiny Deep Learning", 2021). The result is an ordinary graph:
parts are cut out by Slice and joined by Concat, which cost nothing where values are views, and every kernel stays as it
is. Sums have the same terms, so that integers of a part are those of the whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product
from typing import Any

from edgesmith.errors import BadInput
from edgesmith.ir import Graph, Node, Op, Patch, apply
from edgesmith.ops import Elementwise
from edgesmith.ops.concat import Concat
from edgesmith.ops.conv import Conv
from edgesmith.ops.integer_products import ConvolutionSums
from edgesmith.ops.pool import Pool
from edgesmith.ops.slice import Slice
from edgesmith.ops.window import Window
from edgesmith.passes.editing import Names, merged_origin

__all__ = ["Box", "Head", "Patching", "divided", "head_of", "shortened"]

RULE = "patches"
Box = tuple[tuple[int, int], tuple[int, int]]
"""Lines and columns of a value, from the first to before the last."""


LONGEST_NAME = 48


def shortened(name: str) -> str:
    """A name for messages: converters join those of all layers that they merged."""
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME // 2]}...{name[-LONGEST_NAME // 2 :]}"


@dataclass(frozen=True)
class Patching:
    """What is computed patch by patch: everything up to a value, in ``rows`` x ``columns`` parts of it."""

    value: str
    rows: int
    columns: int

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Patching:
        """Raises ``KeyError``, ``TypeError`` or ``ValueError`` when the data has another form."""
        return cls(str(data["value"]), int(data["rows"]), int(data["columns"]))

    def __str__(self) -> str:
        return f"{self.rows} x {self.columns} patches up to {shortened(self.value)}"

    def boxes(self, graph: Graph) -> list[Box]:
        """The parts of the value, line by line."""
        height, width = graph.type(self.value).shape[2:]
        return list(product(_cut(height, self.rows), _cut(width, self.columns)))


@dataclass(frozen=True)
class Head:
    """The operators that compute a value from whole ones.

    Args:
        nodes: in topological order.
        sources: the values that they read and none of them computes.
    """

    nodes: tuple[Node, ...]
    sources: frozenset[str]

    def boxes(self, graph: Graph, value: str, box: Box) -> dict[str, Box]:
        """What a part of the value needs of every other value: the smallest box around all of it."""
        found = {value: box}
        for node in reversed(self.nodes):
            (out,) = node.outputs
            for source in dict.fromkeys(node.read):
                if source in graph.constants or out not in found:
                    continue
                needed = _needed(graph, node, source, found[out])
                found[source] = _around(found[source], needed) if source in found else needed
        return found


def head_of(graph: Graph, value: str) -> Head | None:
    """What computes a value patch by patch; None where that cannot be.

    Convolutions, pools and elementwise operators can; no other operator may need one of their results.
    """
    if graph.type(value).rank != 4 or value in graph.outputs or value in graph.inputs:
        return None
    inside: dict[str, Node] = {}
    sources: set[str] = set()
    pending = [value]
    while pending:
        at = pending.pop()
        node = graph.producer(at)
        if node is None or not _is_local(graph, node):
            if at not in graph.constants:
                sources.add(at)
            continue
        if node.name not in inside:
            inside[node.name] = node
            pending += [v for v in node.read if v not in graph.constants]
    made = {v for n in inside.values() for v in n.outputs}
    if value not in made or any(graph.type(v).rank != 4 for v in sources):
        return None
    for v in made - {value}:
        if v in graph.outputs or any(n.name not in inside for n in graph.consumers[v]):
            return None
    return Head(tuple(sorted(inside.values(), key=lambda n: graph.position[n.name])), frozenset(sources))


def divided(graph: Graph, patching: Patching) -> Graph:
    """The graph that computes a value patch by patch.

    Raises:
        BadInput: it cannot be computed so, or has fewer lines or columns than patches.
    """
    head = head_of(graph, patching.value) if patching.value in graph.types else None
    if head is None:
        raise BadInput("cannot be computed patch by patch", where=patching.value)
    height, width = graph.type(patching.value).shape[2:]
    if patching.rows > height or patching.columns > width:
        raise BadInput(f"{patching.rows} x {patching.columns} patches of {height} x {width}", where=patching.value)
    return _Division(graph, patching, head).graph()


class _Division:
    def __init__(self, graph: Graph, patching: Patching, head: Head) -> None:
        self._graph, self._patching, self._head = graph, patching, head
        self._names = Names(graph)
        self._nodes: list[Node] = []

    def graph(self) -> Graph:
        graph, patching = self._graph, self._patching
        parts = [self._part(box, number) for number, box in enumerate(patching.boxes(graph))]
        columns = patching.columns
        lines = [self._joined(parts[i : i + columns], 3) for i in range(0, len(parts), columns)]
        self._joined(lines, 2, patching.value)
        removed = frozenset(n.name for n in self._head.nodes)
        return apply(graph, [Patch(RULE, removed, tuple(self._nodes), {})])

    def _part(self, box: Box, number: int) -> str:
        """Write the nodes of one patch; gives the name of its part of the value."""
        graph = self._graph
        boxes = self._head.boxes(graph, self._patching.value, box)
        have = {v: (v, _whole(graph, v)) for v in self._head.sources}
        for node in self._head.nodes:
            (out,) = node.outputs
            if out not in boxes:
                continue
            inputs = []
            for value in node.inputs:
                if not value or value in graph.constants:
                    inputs.append(self._constant(node, value, boxes[out]))
                else:
                    name, known = have[value]
                    needed = _needed(graph, node, value, boxes[out])
                    inputs.append(self._slice(name, graph.type(value).shape[:2], known, needed, node))
            made = self._names(f"{out}:patch{number}")
            op = _on_part(graph, node, boxes[out])
            self._nodes.append(Node(self._names(f"{node.name}:patch{number}"), op, tuple(inputs), (made,), node.origin))
            have[out] = made, boxes[out]
        return have[self._patching.value][0]

    def _constant(self, node: Node, value: str, box: Box) -> str:
        """A constant that differs from pixel to pixel is cut like the values beside it."""
        if not value or not isinstance(node.op, Elementwise):
            return value
        shape = self._graph.constants[value].shape
        aligned = (1,) * (4 - len(shape)) + shape
        if aligned[2:] == (1, 1):
            return value
        return self._slice(value, shape[:-2], ((0, aligned[2]), (0, aligned[3])), _limited(box, aligned), node)

    def _slice(self, value: str, outer: tuple[int, ...], known: Box, wanted: Box, node: Node) -> str:
        """Cut a part out of a value of which ``known`` is there; ``outer``: its extents before lines and columns."""
        if known == wanted:
            return value
        starts, lengths = [0] * len(outer), list(outer)
        for (first, _), (start, stop) in zip(known, wanted, strict=True):
            starts.append(start - first)
            lengths.append(stop - start)
        op = Slice(tuple(starts), tuple(lengths), (1,) * len(starts))
        made = self._names(f"{value}:part")
        self._nodes.append(Node(self._names(f"{node.name}:part"), op, (value,), (made,), node.origin))
        return made

    def _joined(self, parts: Sequence[str], axis: int, name: str = "") -> str:
        if len(parts) == 1 and not name:
            return parts[0]
        made = name or self._names(f"{self._patching.value}:line")
        origin = merged_origin(self._head.nodes[-1:])
        self._nodes.append(
            Node(self._names(f"{self._patching.value}:joined"), Concat(axis), tuple(parts), (made,), origin)
        )
        return made


def _is_local(graph: Graph, node: Node) -> bool:
    """Whether a part of the node's result needs only a part of its operands."""
    (out, *more), op = node.outputs, node.op
    if more or graph.type(out).rank != 4:
        return False
    if isinstance(op, Elementwise):
        spatial = graph.type(out).shape[2:]
        return all(graph.type(v).rank == 4 and graph.type(v).shape[2:] == spatial for v in _varying(graph, node))
    window = _window(op)
    if window is None or window.ceil or _varying(graph, node) != list(node.inputs[:1]):
        return False
    reach = [(k - 1) * d for k, d in zip(window.kernel, window.dilations, strict=True)]
    # Every window then meets the input.
    return all(p <= r for pads in (window.pads_begin, window.pads_end) for p, r in zip(pads, reach, strict=True))


def _varying(graph: Graph, node: Node) -> list[str]:
    return [v for v in node.read if v not in graph.constants]


def _window(op: Op) -> Window | None:
    return op.window if isinstance(op, Conv | ConvolutionSums | Pool) and len(op.window.kernel) == 2 else None


def _needed(graph: Graph, node: Node, value: str, box: Box) -> Box:
    """The part of an operand that a part of the result needs."""
    window = _window(node.op)
    if window is None:
        return box
    shape = graph.type(value).shape[2:]
    (top, left) = (_taken(window, a, n, box[a])[0] for a, n in enumerate(shape))
    return top, left


def _taken(window: Window, axis: int, extent: int, part: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """What some outputs take of an axis, and the padding before and after it."""
    step, begin = window.strides[axis], window.pads_begin[axis]
    first = part[0] * step - begin
    last = (part[1] - 1) * step - begin + (window.kernel[axis] - 1) * window.dilations[axis] + 1
    start, stop = max(first, 0), min(last, extent)
    return (start, stop), (start - first, last - stop)


def _on_part(graph: Graph, node: Node, box: Box) -> Op:
    """The operator with the padding that a part of its result meets."""
    window = _window(node.op)
    if window is None:
        return node.op
    shape = graph.type(node.inputs[0]).shape[2:]
    pads = [_taken(window, a, n, box[a])[1] for a, n in enumerate(shape)]
    begin, end = (tuple(p[i] for p in pads) for i in (0, 1))
    return replace(node.op, window=replace(window, pads_begin=begin, pads_end=end))  # type: ignore[type-var]


def _around(a: Box, b: Box) -> Box:
    (first, second) = ((min(p[0], q[0]), max(p[1], q[1])) for p, q in zip(a, b, strict=True))
    return first, second


def _whole(graph: Graph, value: str) -> Box:
    height, width = graph.type(value).shape[2:]
    return (0, height), (0, width)


def _limited(box: Box, shape: Sequence[int]) -> Box:
    """The box in a value of which some axes have one element for all."""
    (first, second) = (part if n > 1 else (0, 1) for part, n in zip(box, shape[2:], strict=True))
    return first, second


def _cut(extent: int, parts: int) -> list[tuple[int, int]]:
    """``parts`` pieces of nearly equal length."""
    ends = [extent * i // parts for i in range(parts + 1)]
    return list(pairwise(ends))
