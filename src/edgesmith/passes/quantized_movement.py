"""Integers moved instead of floats: QuantizeLinear goes before operators that only move or choose elements."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from edgesmith.ir import DType, Graph, Node, Patch
from edgesmith.ops.max_pool import MaxPool
from edgesmith.ops.movement import Movement
from edgesmith.ops.mul import Mul
from edgesmith.passes.editing import Names, bypass
from edgesmith.passes.engine import Skipped, rewrite

RULE = "quantized-movement"
_FILLS = frozenset(("Pad",))
"""Movement that adds elements of its own."""
_AVERAGES = ("AveragePool", "GlobalAveragePool", "ReduceMean")


@rewrite(RULE)
def quantized_movement(graph: Graph) -> Iterator[Patch | Skipped]:
    """Movement and MaxPool commute with conversions, so that they work on bytes; a conversion and back is nothing.

    - Q(move(x)) = move(Q(x)) where every reader of move(x) is the same Q;
    - move(DQ(q)) = DQ(move(q)) where all inputs have the same scale and zero point;
    - Q(DQ(q)) = q where both have the same.
    """
    for node in graph.nodes:
        if node.op.name == "QuantizeLinear":
            patch = _round_trip(graph, node)
        elif _moves(node):
            patch = _hoisted(graph, node) or _sunk(graph, node)
        elif node.op.name in _AVERAGES:
            patch = _average(graph, node)
        else:
            continue
        if patch is not None:
            yield patch


def _moves(node: Node) -> bool:
    if isinstance(node.op, MaxPool):
        return not node.op.indices
    return isinstance(node.op, Movement) and node.op.name not in _FILLS and len(node.outputs) == 1


Parameters = tuple[bytes, int, DType]
"""Scale, zero point and integer type of a conversion."""


def _parameters(graph: Graph, node: Node | None, kind: str) -> Parameters | None:
    if node is None or node.op.name != kind:
        return None
    scale, zero = graph.constants.get(node.inputs[1]), (*node.inputs, "", "")[2]
    if scale is None or scale.size != 1 or (zero and zero not in graph.constants):
        return None
    integer = node.outputs[0] if kind == "QuantizeLinear" else node.inputs[0]
    point = int(graph.constants[zero].item()) if zero else 0
    return scale.astype(np.float32).tobytes(), point, graph.type(integer).dtype


def _round_trip(graph: Graph, node: Node) -> Patch | None:
    back = graph.producer(node.inputs[0])
    mine = _parameters(graph, node, "QuantizeLinear")
    if back is None or mine is None or mine != _parameters(graph, back, "DequantizeLinear"):
        return None
    return bypass(graph, RULE, node, back.inputs[0])


def _hoisted(graph: Graph, node: Node) -> Patch | None:
    (value,) = node.outputs
    readers = graph.consumers[value]
    found = {_parameters(graph, n, "QuantizeLinear") for n in readers}
    if value in graph.outputs or len(found) != 1 or None in found or not _accepts_bytes(graph, node, found):
        return None
    first, *others = dict.fromkeys(readers)
    if any(n.outputs[0] in graph.outputs for n in others):
        return None
    names = Names(graph)
    insert, inputs = [], []
    for v in node.inputs:
        integer = names(f"{v}:quantized")
        insert.append(Node(names(f"{first.name}:{v}"), first.op, (v, *first.inputs[1:]), (integer,), first.origin))
        inputs.append(integer)
    moved = replace(node, inputs=tuple(inputs), outputs=first.outputs)
    rename = {n.outputs[0]: first.outputs[0] for n in others}
    removed = frozenset((node.name, *(n.name for n in readers)))
    return Patch(RULE, removed, (*insert, moved), rename=rename)


def _sunk(graph: Graph, node: Node) -> Patch | None:
    producers = [graph.producer(v) for v in node.inputs if v]
    found = {_parameters(graph, p, "DequantizeLinear") for p in producers}
    if len(found) != 1 or None in found or not _accepts_bytes(graph, node, found):
        return None
    sources = [p for p in producers if p]
    names = Names(graph)
    integer = names(f"{node.outputs[0]}:quantized")
    moved = replace(node, inputs=tuple(p.inputs[0] for p in sources), outputs=(integer,))
    back = Node(
        names(f"{node.name}:dequantize"), sources[0].op, (integer, *sources[0].inputs[1:]), node.outputs, node.origin
    )
    return Patch(RULE, frozenset((node.name,)), (moved, back))


def _accepts_bytes(graph: Graph, node: Node, found: set[Parameters | None]) -> bool:
    """Movement takes any type; MaxPool bytes."""
    (parameters,) = found
    assert parameters is not None
    return not isinstance(node.op, MaxPool) or parameters[2] in (DType.I8, DType.U8)


def _average(graph: Graph, node: Node) -> Patch | None:
    """The average of (q - zero) * scale as scale times the average of integers, whose sum is exact in f32."""
    back = graph.producer(node.inputs[0])
    found = _parameters(graph, back, "DequantizeLinear")
    if back is None or found is None or graph.constants[back.inputs[1]].item() == 1.0:
        return None
    names = Names(graph)
    steps, average = names(f"{node.inputs[0]}:steps"), names(f"{node.outputs[0]}:steps")
    one = names(f"{back.name}:one")
    inputs = (back.inputs[0], one, *back.inputs[2:])
    integers = Node(names(f"{back.name}:steps"), back.op, inputs, (steps,), back.origin)
    averaged = replace(node, inputs=(steps, *node.inputs[1:]), outputs=(average,))
    scaled = Node(names(f"{node.name}:scale"), Mul(), (average, back.inputs[1]), node.outputs, node.origin)
    constants = {one: np.asarray(1.0, np.float32)}
    return Patch(RULE, frozenset((node.name,)), (integers, averaged, scaled), constants)
