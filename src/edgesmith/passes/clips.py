"""Clips: from Min and Max, merged, and to Relu."""

from __future__ import annotations

import math
from collections.abc import Iterator

from edgesmith.ir import DType, Graph, Node, Patch
from edgesmith.ops.clip import Clip
from edgesmith.ops.relu import Relu
from edgesmith.passes.editing import nodes_of, substitute
from edgesmith.passes.engine import Skipped, rewrite
from edgesmith.passes.facts import constant_input

Bounds = tuple[float, float]


@rewrite("clips")
def simplify_clips(graph: Graph) -> Iterator[Patch | Skipped]:
    """Min and Max with one number become Clip, Clip after Clip or Relu one Clip, and Clip(0, infinity) Relu (f32)."""
    for node in nodes_of(graph, "Min", "Max", "Clip"):
        y = graph.type(node.outputs[0])
        if y.dtype is not DType.F32:
            continue
        found = _bounds(graph, node)
        if found is None:
            continue
        x, bounds = found
        if graph.type(x) != y:
            continue
        inner = graph.producer(x)
        absorbed: tuple[Node, ...] = ()
        below = _bounds(graph, inner) if inner is not None and inner.op.name in ("Clip", "Relu") else None
        if inner is not None and below is not None and graph.sole_consumer(x) is node:
            x, (low, high) = below
            bounds = _clipped(low, bounds), _clipped(high, bounds)
            absorbed = (inner,)
        op = _operator(bounds)
        if absorbed or op != node.op:
            yield substitute("clips", node, op, (x,), absorbed=absorbed)


def _bounds(graph: Graph, node: Node) -> tuple[str, Bounds] | None:
    """Input and bounds of a node that clips; None where the lower bound is above the upper."""
    low, high = -math.inf, math.inf
    if isinstance(node.op, Clip):
        low, high = (
            -math.inf if node.op.low is None else node.op.low,
            math.inf if node.op.high is None else node.op.high,
        )
        return (node.inputs[0], (low, high)) if low <= high else None
    if isinstance(node.op, Relu):
        return node.inputs[0], (0.0, math.inf)
    found = constant_input(graph, node)
    if found is None or found.array.size != 1 or math.isnan(found.array.item()):
        return None
    number = float(found.array.item())
    return found.other, ((number, high) if node.op.name == "Max" else (low, number))


def _clipped(x: float, bounds: Bounds) -> float:
    return min(bounds[1], max(bounds[0], x))


def _operator(bounds: Bounds) -> Clip | Relu:
    low, high = bounds
    if (low, high) == (0, math.inf):
        return Relu()
    return Clip(None if low == -math.inf else low, None if high == math.inf else high)
