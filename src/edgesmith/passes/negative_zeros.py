"""Weights of -0.0, which masks leave where they remove negative ones, become 0.0, which has a short form in storage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from edgesmith.ir import Graph, Patch
from edgesmith.passes.editing import Names, nodes_of
from edgesmith.passes.engine import Skipped, rewrite

RULE = "negative-zeros"
LEAST_SHARE = 0.125
"""Fewer zeros are none that anything could be gained from."""
NEGATIVE_ZERO = np.uint32(1 << 31)


@rewrite(RULE)
def negative_zeros(graph: Graph) -> Iterator[Patch | Skipped]:
    """Products are the same but for the sign of a zero, which the sum that it is added to loses."""
    for node in nodes_of(graph, "Conv", "ConvTranspose", "Gemm", "MatMul"):
        weights = graph.constants.get(node.inputs[1])
        if weights is None or weights.dtype != np.float32:
            continue
        if np.count_nonzero(weights) > (1 - LEAST_SHARE) * weights.size:
            continue
        if not (np.ascontiguousarray(weights).view(np.uint32) == NEGATIVE_ZERO).any():
            continue
        name = Names(graph)(f"{node.inputs[1]}:unsigned")
        changed = replace(node, inputs=(node.inputs[0], name, *node.inputs[2:]))
        yield Patch(RULE, frozenset((node.name,)), (changed,), {name: weights + np.float32(0)})
