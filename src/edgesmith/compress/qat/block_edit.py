"""Layers with weights in blocks in a graph."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgesmith.ir import Graph, Node
from edgesmith.ops.block_scales import DequantizeLinearByBlock
from edgesmith.quantize.graph_edit import GraphEdit
from edgesmith.quantize.products import Product

__all__ = ["with_blocks"]


def with_blocks(graph: Graph, form: Product, codes: np.ndarray, scale: np.ndarray) -> Graph:
    """The graph with a product whose weights are integers from -8 to 7 with a scale for each block.

    Args:
        codes: i8, output channels along axis 0, blocks along axis 1.
        scale: f32 numbers that fp16 can hold.
    """
    axis, block = 1, codes.shape[1] // scale.shape[1]
    if form.axis != 0:
        axis, codes, scale = 0, codes.T, scale.T
    edit = GraphEdit(graph)
    node = graph.nodes[graph.position[form.node.name]]
    integers, scales, result = (edit.names(f"{node.name}:weights{part}") for part in ("", ":scale", ":dequantized"))
    edit.constants |= {integers: np.ascontiguousarray(codes), scales: np.ascontiguousarray(scale)}
    op = DequantizeLinearByBlock(axis, block)
    edit.insert.append(Node(edit.names(f"{result} by block"), op, (integers, scales), (result,), node.origin))
    edit.insert.append(replace(node, inputs=(node.inputs[0], result, *node.inputs[2:])))
    edit.removed.add(node.name)
    return edit.patched()
