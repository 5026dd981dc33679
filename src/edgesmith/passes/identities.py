"""Removal of operators that change nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from edgesmith.ir import Graph, Node, Patch, View
from edgesmith.ops import Movement
from edgesmith.ops.average_pool import AveragePool
from edgesmith.ops.clip import Clip
from edgesmith.ops.concat import Concat
from edgesmith.ops.max_pool import MaxPool
from edgesmith.ops.reshape import Reshape
from edgesmith.passes.editing import bypass, substitute
from edgesmith.passes.engine import Skipped, rewrite
from edgesmith.passes.facts import constant_input, is_nonnegative

_NEUTRAL = {"Add": 0, "Sub": 0, "Mul": 1, "Div": 1, "Pow": 1, "Or": False, "Xor": False, "And": True}
_COMMUTATIVE = ("Add", "Mul", "Or", "Xor", "And")


@rewrite("identities")
def remove_identities(graph: Graph) -> Iterator[Patch | Skipped]:
    """Operators whose output equals their input go.

    Adding 0 turns -0 into +0; that difference is dropped.
    """
    for node in graph.nodes:
        if len(node.outputs) != 1:
            continue
        value = _unchanged(graph, node)
        if value is None or graph.type(value) != graph.type(node.outputs[0]):
            continue
        patch = bypass(graph, "identities", node, value)
        if patch is not None:
            yield patch
        else:
            yield Skipped(node.name, f"it copies {value} into a graph output")


@rewrite("moves-to-reshape")
def moves_to_reshape(graph: Graph) -> Iterator[Patch | Skipped]:
    """Moves that keep the elements in their order become a Reshape (a Transpose of axes of length 1, for example)."""
    for node in graph.nodes:
        if isinstance(node.op, Reshape) or not _keeps_order(graph, node):
            continue
        shape = graph.type(node.outputs[0]).shape
        if shape != graph.type(node.read[0]).shape:
            yield substitute("moves-to-reshape", node, Reshape(shape), node.read)


def _keeps_order(graph: Graph, node: Node) -> bool:
    if not isinstance(node.op, Movement) or len(node.read) != 1 or len(node.outputs) != 1:
        return False
    if isinstance(node.op, Concat):
        return True
    source = graph.type(node.read[0])
    if not source.size or source.size != graph.type(node.outputs[0]).size:
        return False
    try:
        (view,) = node.op.views(View.dense(source))
    except NotImplementedError:
        return False
    return view is not None and view.offset == 0 and view.is_dense()


def _unchanged(graph: Graph, node: Node) -> str | None:
    """The input that the only output equals (up to its type, which the caller compares), if any."""
    op = node.op
    if isinstance(op, Movement):
        return node.read[0] if node.read and _keeps_order(graph, node) else None
    if op.name == "Cast" or (op.name in ("Sum", "Mean", "Max", "Min") and len(node.read) == 1):
        return node.read[0]
    if op.name == "Relu" and is_nonnegative(graph, node.read[0]):
        return node.read[0]
    if isinstance(op, Clip):
        low, high = -math.inf if op.low is None else op.low, math.inf if op.high is None else op.high
        dtype = graph.type(node.read[0]).dtype
        least, most = (-math.inf, math.inf) if dtype.is_float else dtype.limits
        floor = 0 if is_nonnegative(graph, node.read[0]) else least
        return node.read[0] if low <= floor and high >= most else None
    if isinstance(op, MaxPool | AveragePool):
        taps, pads = {*op.window.kernel, *op.window.strides}, {*op.window.pads_begin, *op.window.pads_end}
        return node.read[0] if taps == {1} and pads == {0} else None
    if op.name in _NEUTRAL:
        found = constant_input(graph, node)
        if found and (found.index == 1 or op.name in _COMMUTATIVE) and bool(np.all(found.array == _NEUTRAL[op.name])):
            return found.other
    return None
