"""Softmax between bytes by a table of exponentials."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edgesmith.ir import Graph, Node, Patch
from edgesmith.ops.lookup_softmax import LONGEST, LookupSoftmax, exponentials
from edgesmith.ops.softmax import Softmax
from edgesmith.passes.editing import Names, merged_origin, nodes_of
from edgesmith.passes.engine import Skipped, rewrite
from edgesmith.passes.quantized_values import BYTES, quantization

RULE = "lookup-softmax"
LARGEST_FACTOR = 2.0**24
"""Of a result that is quantised: beyond it, steps would not fit the integers that they are rounded to."""


@rewrite(RULE)
def lookup_softmax(graph: Graph) -> Iterator[Patch | Skipped]:
    """A QuantizeLinear of a Softmax of dequantised bytes computes in integers, the same on every instruction set.

    The result differs from that of floats by one step at most, where lines have up to ``LONGEST`` elements.
    """
    for node in nodes_of(graph, "QuantizeLinear"):
        softmax = graph.producer(node.inputs[0])
        if softmax is None or not isinstance(softmax.op, Softmax) or graph.sole_consumer(node.inputs[0]) is not node:
            continue
        back = graph.producer(softmax.inputs[0])
        before, after = quantization(graph, back, "DequantizeLinear"), quantization(graph, node, "QuantizeLinear")
        if back is None or before is None or after is None or not {before.dtype, after.dtype} <= set(BYTES):
            continue
        if back.inputs[0] in graph.constants:
            continue
        length = graph.type(softmax.inputs[0]).shape[softmax.op.axis]
        if length > LONGEST:
            yield Skipped(node.name, f"sums of {length} exponentials, a table serves up to {LONGEST}")
        elif 1 / float(after.scale) > LARGEST_FACTOR:
            yield Skipped(node.name, f"steps of {after.scale:.3g} are too small for integers")
        else:
            names, y = Names(graph), node.outputs[0]
            table, factor, zero = (names(f"{y}:{part}") for part in ("exponentials", "factor", "zero"))
            constants = {
                table: exponentials(float(before.scale), length),
                factor: np.array(1 / np.float64(after.scale), np.float32),
                zero: np.array(after.zero, after.dtype.numpy),
            }
            op = LookupSoftmax(softmax.op.axis, after.dtype)
            inputs = (back.inputs[0], *constants)
            lookup = Node(names(f"{node.name}:lookup"), op, inputs, node.outputs, merged_origin((back, softmax, node)))
            yield Patch(RULE, frozenset((node.name,)), (lookup,), constants)
