"""Batch normalisation that no layer before it folds in, in a graph."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgesmith.ir import Graph, Node
from edgesmith.ops.add import Add
from edgesmith.ops.batch_normalization import BatchNormalization
from edgesmith.ops.mul import Mul
from edgesmith.passes.affine import affine
from edgesmith.quantize.graph_edit import GraphEdit

__all__ = ["with_arithmetic"]


def with_arithmetic(graph: Graph) -> Graph:
    """The graph with a Mul and an Add by channel for each BatchNormalization, which are computed between the sums of
    one layer and the rounding for the next one."""
    edit = GraphEdit(graph)
    for node in graph.nodes:
        given = affine(graph, node) if isinstance(node.op, BatchNormalization) else None
        if given is None:
            continue
        scale, shift, product = (edit.names(f"{node.name}:{part}") for part in ("scale", "shift", "product"))
        edit.constants |= {scale: given.scale[0].astype(np.float32), shift: given.shift[0].astype(np.float32)}
        edit.insert.append(Node(edit.names(f"{node.name}:mul"), Mul(), (given.x, scale), (product,), node.origin))
        edit.insert.append(replace(node, op=Add(), inputs=(product, shift)))
        edit.removed.add(node.name)
    return edit.patched()
