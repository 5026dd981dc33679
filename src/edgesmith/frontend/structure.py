"""The graph's own rules, checked before any library sees the model: known operators, single assignment, order."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

import onnx
from google.protobuf.message import Message  # type: ignore[import-untyped]
from onnx import GraphProto, NodeProto, TensorProto

from edgesmith.errors import ModelError, UnsupportedOp

__all__ = [
    "STANDARD_DOMAINS",
    "check_operators",
    "check_text",
    "label",
    "name_nodes",
    "remove_unused",
    "sort_nodes",
    "subgraphs",
]

STANDARD_DOMAINS = ("", "ai.onnx")


def label(node: NodeProto) -> str:
    """How messages call a node: its name, or its first output where it has none, and its operator."""
    return f"node {node.name or next(iter(node.output), '')!r} ({node.op_type})"


def subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    """The graphs in a node's attributes: branches of If, bodies of Loop and Scan."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def check_text(message: Message) -> None:
    """Raise ModelError for a name that is not UTF-8; protobuf hands such out as bytes, on which libraries stumble."""
    if isinstance(message, TensorProto):
        names: list[object] = [message.name, *(entry.value for entry in message.external_data)]
    else:
        names = []
        for field, value in message.ListFields():
            if field.type == field.TYPE_STRING:
                names += value if isinstance(value, Sequence) and not isinstance(value, str | bytes) else [value]
            elif field.type == field.TYPE_MESSAGE:
                for inner in [value] if isinstance(value, Message) else value:
                    check_text(inner)
    for name in names:
        if isinstance(name, bytes):
            hint = "The file is damaged."
            raise ModelError(f"the text {name[:40]!r} in {type(message).__name__} is not UTF-8", hint=hint)


def check_operators(graph: GraphProto, opset: int) -> None:
    """Raise UnsupportedOp for the first node, subgraphs included, that is not a standard operator of ``opset``."""
    for node in graph.node:
        if node.domain not in STANDARD_DOMAINS:
            raise UnsupportedOp(
                f"operator {node.domain}.{node.op_type} is not part of standard ONNX",
                where=label(node),
                hint="Export the model without custom or vendor operators.",
            )
        try:
            schema = onnx.defs.get_schema(node.op_type, max_inclusive_version=opset, domain="")
        except onnx.defs.SchemaError as error:
            raise UnsupportedOp(f"opset {opset} has no operator {node.op_type!r}", where=label(node)) from error
        if schema.deprecated:
            raise UnsupportedOp(
                f"{node.op_type} is deprecated in opset {opset}",
                where=label(node),
                hint="Export the model with a newer opset.",
            )
        for inner in subgraphs(node):
            check_operators(inner, opset)


def sort_nodes(graph: GraphProto, outer: frozenset[str] = frozenset()) -> None:
    """Check single assignment and definedness, and put nodes into a topological order that keeps the old one if valid.

    Args:
        graph: changed in place, subgraphs included.
        outer: names visible from the enclosing graphs.

    Raises:
        ModelError: a value with two definitions, a value that nothing defines, an output likewise, or a cycle.
    """
    producers = _producers(graph, outer)
    given = {value.name for value in chain(graph.input, graph.initializer)}
    captured = [_captured(node) for node in graph.node]
    waiting: list[set[int]] = []
    for node, names in zip(graph.node, captured, strict=True):
        for name in names:
            if name not in producers and name not in given and name not in outer:
                raise ModelError(
                    f"value {name!r} is used but nothing produces it",
                    where=label(node),
                    hint="The file is damaged, or the model was cut out of a larger one.",
                )
        waiting.append({producers[name] for name in names if name in producers})
    for output in graph.output:
        if output.name not in producers and output.name not in given and output.name not in outer:
            raise ModelError("nothing produces this graph output", where=f"output {output.name!r}")
    order = _topological(waiting)
    if len(order) < len(waiting):
        stuck = _cycle(waiting, set(range(len(waiting))) - set(order))
        steps = " -> ".join(label(graph.node[index]) for index in stuck[:8])
        raise ModelError(f"the graph has a cycle: {steps}{' -> ...' if len(stuck) > 8 else ''}")
    if order != list(range(len(order))):
        nodes = [graph.node[index] for index in order]
        del graph.node[:]
        graph.node.extend(nodes)
    visible = outer | given
    for node in graph.node:
        for inner in subgraphs(node):
            sort_nodes(inner, frozenset(visible))
        visible |= set(node.output)


def _producers(graph: GraphProto, outer: frozenset[str]) -> Mapping[str, int]:
    for kind, values in (("input", graph.input), ("initialiser", graph.initializer), ("output", graph.output)):
        for name, count in Counter(value.name for value in values).items():
            if not name:
                raise ModelError(f"a graph {kind} has no name")
            if count > 1:
                raise ModelError(f"there are {count} graph {kind}s of this name", where=f"{kind} {name!r}")
    defined: dict[str, str] = {value.name: "an initialiser" for value in graph.initializer}
    defined.update({value.name: "a graph input" for value in graph.input})
    producers: dict[str, int] = {}
    for index, node in enumerate(graph.node):
        for name in filter(None, node.output):
            if name in outer and name not in defined:
                defined[name] = "the enclosing graph"
            if name in defined:
                raise ModelError(
                    f"value {name!r} has two definitions, here and by {defined[name]}",
                    where=label(node),
                    hint="Every value of an ONNX graph must be assigned once.",
                )
            defined[name] = label(node)
            producers[name] = index
    return producers


def _captured(node: NodeProto) -> set[str]:
    """Names that a node needs from its graph: its inputs, and what its subgraphs take from outside."""
    names = {name for name in node.input if name}
    for graph in subgraphs(node):
        own = {value.name for value in chain(graph.input, graph.initializer)}
        own.update(name for inner in graph.node for name in inner.output)
        needed = {name for inner in graph.node for name in _captured(inner)}
        needed.update(output.name for output in graph.output)
        names |= needed - own
    return names


def _topological(waiting: list[set[int]]) -> list[int]:
    users: list[list[int]] = [[] for _ in waiting]
    for index, needs in enumerate(waiting):
        for need in needs:
            users[need].append(index)
    missing = [len(needs) for needs in waiting]
    ready = [index for index, count in enumerate(missing) if count == 0]
    order: list[int] = []
    while ready:
        index = heapq.heappop(ready)
        order.append(index)
        for user in users[index]:
            missing[user] -= 1
            if missing[user] == 0:
                heapq.heappush(ready, user)
    return order


def _cycle(waiting: list[set[int]], stuck: set[int]) -> list[int]:
    """One cycle among the nodes that could not be ordered, in the direction of the data."""
    path: list[int] = [min(stuck)]
    seen = {path[0]: 0}
    while True:
        need = min(waiting[path[-1]] & stuck)
        if need in seen:
            return [*reversed(path[seen[need] :]), path[-1]]
        seen[need] = len(path)
        path.append(need)


def remove_unused(graph: GraphProto) -> set[str]:
    """Drop nodes that no output needs and blank optional node outputs that nobody reads; returns the names read."""
    needed = {output.name for output in graph.output}
    kept: list[NodeProto] = []
    for node in reversed(graph.node):
        if needed.isdisjoint(filter(None, node.output)):
            continue
        names = [name if name in needed else "" for name in node.output]
        while names and not names[-1]:
            names.pop()
        if list(node.output) != names and _may_blank(node):
            node.output[:] = names
        kept.append(node)
        needed |= _captured(node)
    if len(kept) < len(graph.node):
        del graph.node[:]
        graph.node.extend(reversed(kept))
    return needed


def _may_blank(node: NodeProto) -> bool:
    """Whether unread outputs may go: not where their number is part of the meaning (Split, old training-mode nodes)."""
    if node.op_type in ("Split", "BatchNormalization") or any(True for _ in subgraphs(node)):
        return False
    schema = onnx.defs.get_schema(node.op_type, domain="")
    option = onnx.defs.OpSchema.FormalParameterOption.Optional
    return all(output.option == option for output in list(schema.outputs)[1:])


def name_nodes(graph: GraphProto) -> None:
    """Give every node a unique name that is not empty; names that already are unique stay."""
    counts = Counter(node.name for node in graph.node)
    taken = {name for name, count in counts.items() if count == 1 and name}
    for node in graph.node:
        if node.name in taken and counts[node.name] == 1:
            continue
        stem = node.name or f"{node.op_type}_{next(filter(None, node.output), '')}"
        name, number = stem, 1
        while name in taken:
            name, number = f"{stem}_{number}", number + 1
        taken.add(name)
        node.name = name
