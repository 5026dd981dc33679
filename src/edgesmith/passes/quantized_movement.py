"""Integers moved instead of floats: QuantizeLinear goes before operators that only move or choose elements."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import prod

import numpy as np

from edgesmith.ir import Graph, Node, Op, Patch
from edgesmith.ops.max_pool import MaxPool
from edgesmith.ops.mul import Mul
from edgesmith.ops.pad import Pad
from edgesmith.ops.quantize_by_axis import DequantizeLinearByAxis
from edgesmith.ops.reshape import Reshape
from edgesmith.ops.transpose import Transpose
from edgesmith.passes.editing import Names, bypass, merged_origin
from edgesmith.passes.engine import Skipped, rewrite
from edgesmith.passes.quantized_values import (
    INTEGERS,
    Quantization,
    common_quantization,
    filled,
    is_movement,
    quantization,
)

RULE = "quantized-movement"
_AVERAGES = ("AveragePool", "GlobalAveragePool", "ReduceMean")
EXACT_SUM = 1 << 24
"""Sums of integers up to this size are exact in f32, in any order."""


@rewrite(RULE)
def quantized_movement(graph: Graph) -> Iterator[Patch | Skipped]:
    """Movement and MaxPool commute with conversions, so that they work on bytes; a conversion and back is nothing.

    - Q(move(x)) = move(Q(x)) where every reader of every output is the same Q;
    - move(DQ(q)) = DQ(move(q)) where all inputs have the same scale and zero point, and what fills is one of their
      numbers;
    - Q(DQ(q)) = q where both have the same;
    - mean(DQ(q)) = scale * mean(q - zero), whose sum is exact.
    """
    for node in graph.nodes:
        found: Patch | Skipped | None = None
        if node.op.name == "QuantizeLinear":
            found = _round_trip(graph, node)
        elif is_movement(node):
            found = _hoisted(graph, node) or _sunk(graph, node) or _sunk_by_axis(graph, node)
        elif node.op.name in _AVERAGES:
            found = _average(graph, node)
        if found is not None:
            yield found


def _round_trip(graph: Graph, node: Node) -> Patch | None:
    back = graph.producer(node.inputs[0])
    mine = quantization(graph, node, "QuantizeLinear")
    if back is None or mine is None or mine != quantization(graph, back, "DequantizeLinear"):
        return None
    return bypass(graph, RULE, node, back.inputs[0])


def _hoisted(graph: Graph, node: Node) -> Patch | None:
    readers = [graph.consumers[v] for v in node.outputs]
    found = {quantization(graph, n, "QuantizeLinear") for nodes in readers for n in nodes}
    if len(found) != 1 or not all(readers) or any(v in graph.outputs for v in node.outputs):
        return None
    (one,) = found
    if one is None or (isinstance(node.op, MaxPool) and one.dtype not in INTEGERS):
        return None
    first = readers[0][0]
    names = Names(graph)
    insert, inputs, outputs = [], [], []
    rename: dict[str, str] = {}
    for v in node.inputs:
        inputs.append(names(f"{v}:quantized"))
        insert.append(Node(names(f"{first.name}:{v}"), first.op, (v, *first.inputs[1:]), (inputs[-1],), first.origin))
    for nodes in readers:
        kept, *others = sorted(dict.fromkeys(nodes), key=lambda n: n.outputs[0] not in graph.outputs)
        if any(n.outputs[0] in graph.outputs for n in others):
            return None
        outputs.append(kept.outputs[0])
        rename |= {n.outputs[0]: kept.outputs[0] for n in others}
    moved = replace(node, op=_on_integers(node, one), inputs=tuple(inputs), outputs=tuple(outputs))
    removed = frozenset((node.name, *(n.name for nodes in readers for n in nodes)))
    return Patch(RULE, removed, (*insert, moved), rename=rename)


def _sunk(graph: Graph, node: Node) -> Patch | None:
    sources = [graph.producer(v) for v in node.inputs]
    back = sources[0]
    one = common_quantization(node, (quantization(graph, p, "DequantizeLinear") for p in sources))
    if one is None or back is None:
        return None
    names = Names(graph)
    integers = [names(f"{v}:quantized") for v in node.outputs]
    inputs = tuple(p.inputs[0] for p in sources if p is not None)
    moved = replace(node, op=_on_integers(node, one), inputs=inputs, outputs=tuple(integers))
    after = [
        Node(names(f"{node.name}:dequantize"), back.op, (integer, *back.inputs[1:]), (value,), node.origin)
        for integer, value in zip(integers, node.outputs, strict=True)
    ]
    return Patch(RULE, frozenset((node.name,)), (moved, *after))


def _on_integers(node: Node, one: Quantization) -> Op:
    """The operator; what it fills with is an integer."""
    fill = filled(node)
    if fill is None:
        return replace(node.op, value=None) if isinstance(node.op, Pad) else node.op
    assert isinstance(node.op, Pad)
    return replace(node.op, value=one.dtype.numpy.type(one.quantize(fill)))


def _sunk_by_axis(graph: Graph, node: Node) -> Patch | None:
    """Transpose and Reshape of what has a scale for each index of an axis, where that axis stays whole."""
    back = graph.producer(node.inputs[0])
    if back is None or not isinstance(back.op, DequantizeLinearByAxis):
        return None
    axis = _moved_axis(node.op, back.op.axis, graph.type(node.inputs[0]).shape, graph.type(node.outputs[0]).shape)
    if axis is None:
        return None
    names = Names(graph)
    integer = names(f"{node.outputs[0]}:quantized")
    moved = replace(node, inputs=back.inputs[:1], outputs=(integer,))
    name = names(f"{node.name}:dequantize")
    origin = merged_origin((back, node))
    after = Node(name, DequantizeLinearByAxis(axis), (integer, *back.inputs[1:]), node.outputs, origin)
    return Patch(RULE, frozenset((node.name,)), (moved, after))


def _moved_axis(op: Op, axis: int, before: tuple[int, ...], after: tuple[int, ...]) -> int | None:
    """Where an axis is after a Transpose or Reshape, if all its elements still lie along one."""
    if isinstance(op, Transpose):
        return op.perm.index(axis)
    if not isinstance(op, Reshape) or before[axis] == 1:
        return None
    same = (a for a, n in enumerate(after) if n == before[axis] and prod(after[:a]) == prod(before[:axis]))
    return next(same, None)


def _average(graph: Graph, node: Node) -> Patch | Skipped | None:
    """The average of (q - zero) * scale as scale times the average of integers, whose sum is exact in f32."""
    back = graph.producer(node.inputs[0])
    found = quantization(graph, back, "DequantizeLinear")
    if back is None or found is None or found.scale == 1.0:
        return None
    lowest, highest = found.dtype.limits
    count = node.op.reduction_length(graph.input_types(node))
    if count * max(found.zero - lowest, highest - found.zero) > EXACT_SUM:
        return Skipped(node.name, f"a sum of {count} integers of type {found.dtype} may not be exact in f32")
    names = Names(graph)
    steps, average = names(f"{node.inputs[0]}:steps"), names(f"{node.outputs[0]}:steps")
    one = names(f"{back.name}:one")
    inputs = (back.inputs[0], one, *back.inputs[2:])
    integers = Node(names(f"{back.name}:steps"), back.op, inputs, (steps,), back.origin)
    averaged = replace(node, inputs=(steps, *node.inputs[1:]), outputs=(average,))
    scale = names(f"{node.name}:factor")
    scaled = Node(names(f"{node.name}:scale"), Mul(), (average, scale), node.outputs, node.origin)
    constants = {one: np.asarray(1.0, np.float32), scale: np.asarray(found.scale)}
    return Patch(RULE, frozenset((node.name,)), (integers, averaged, scaled), constants)
