"""Layers of signs in a graph."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgesmith.ir import Graph, Node
from edgesmith.ops.comparison import GreaterOrEqual
from edgesmith.ops.where import Where
from edgesmith.quantize import QParams
from edgesmith.quantize.graph_edit import GraphEdit
from edgesmith.quantize.products import Product

__all__ = ["with_signs"]


def with_signs(graph: Graph, form: Product, scale: QParams, signs: np.ndarray) -> Graph:
    """The graph with a product that reads 1 where its input is at least 0, and -1 elsewhere.

    Args:
        scale: of the weights.
        signs: the weights as -1, 0 and 1.
    """
    edit = GraphEdit(graph)
    node = graph.nodes[graph.position[form.node.name]]
    base = node.name

    def constant(name: str, array: np.ndarray) -> str:
        found = edit.names(f"{base}:{name}")
        edit.constants[found] = array
        return found

    def made(name: str, op: GreaterOrEqual | Where, *inputs: str) -> str:
        result = edit.names(f"{base}:{name}")
        edit.insert.append(Node(edit.names(f"{base}:{name} of input"), op, inputs, (result,), node.origin))
        return result

    zero, one, minus = (constant(f"sign {n}", np.array(n, np.float32)) for n in (0, 1, -1))
    positive = made("positive", GreaterOrEqual(), node.inputs[0], zero)
    inputs = made("signs", Where(), positive, one, minus)
    weights = constant("weights", scale.dequantize(signs))
    edit.removed.add(node.name)
    edit.insert.append(replace(node, inputs=(inputs, weights, *node.inputs[2:])))
    return edit.patched()
