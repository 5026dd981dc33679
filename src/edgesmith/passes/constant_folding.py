"""Constant folding."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edgesmith.errors import EdgesmithError
from edgesmith.ir import Graph, Node, Patch
from edgesmith.ops.identity import Identity
from edgesmith.passes.editing import Names
from edgesmith.passes.engine import Skipped, rewrite
from edgesmith.passes.quantized_values import is_movement

SMALL_BYTES = 64 << 10
GROWTH = 2
MAX_MACS = 1 << 28
_DEQUANTIZE = frozenset(("DequantizeLinear", "DequantizeLinearByAxis"))
_PRODUCTS = frozenset(("Conv", "Gemm", "MatMul"))
"""Their integer forms read weights as they are stored (``passes/integer_products.py``)."""


@rewrite("fold-constants")
def fold_constants(graph: Graph) -> Iterator[Patch | Skipped]:
    """Nodes that read nothing but constants are computed by their operators' references.

    Left alone: results of more than 64 kB that are over twice as large as what they are computed from (an Expand, a
    ConstantOfShape), and products that would take the compiler long.
    """
    values: dict[str, np.ndarray] = {}
    folded: list[Node] = []
    for node in graph.nodes:
        known = [values.get(v, graph.constants.get(v)) for v in node.read]
        if any(a is None for a in known) or _is_copy(graph, node):
            continue
        reason = _too_much(graph, node)
        if reason is None:
            try:
                results = node.op.reference(*(values.get(v, graph.constants.get(v)) for v in node.inputs))
            except EdgesmithError as error:
                reason = str(error)
        if reason is not None:
            yield Skipped(node.name, reason)
            continue
        for value, result in zip(node.outputs, results, strict=True):
            values[value] = np.ascontiguousarray(result).reshape(result.shape)
        folded.append(node)
    if folded:
        yield _patch(graph, folded, values)


def _is_copy(graph: Graph, node: Node) -> bool:
    """True for the Identity that writes a constant into a graph output."""
    return isinstance(node.op, Identity) and node.outputs[0] in graph.outputs and node.inputs[0] in graph.constants


def _too_much(graph: Graph, node: Node) -> str | None:
    if node.op.name in _DEQUANTIZE and _feeds_product(graph, node):
        return "a product of integers may read what it dequantises"
    made = sum(t.nbytes for t in graph.output_types(node))
    read = sum(graph.type(v).nbytes for v in node.read)
    if made > max(SMALL_BYTES, GROWTH * read):
        return f"its result takes {made} bytes, its inputs {read}"
    macs = graph.cost(node).macs
    return f"it takes {macs} multiply-adds" if macs > MAX_MACS else None


def _feeds_product(graph: Graph, node: Node) -> bool:
    """Whether a product reads a dequantised constant, moved or not, in a model with quantised activations."""
    if not any(n.op.name in _DEQUANTIZE and n.inputs[0] not in graph.constants for n in graph.nodes):
        return False
    pending = list(node.outputs)
    while pending:
        for reader in graph.consumers[pending.pop()]:
            if reader.op.name in _PRODUCTS:
                return True
            if is_movement(reader):
                pending += reader.outputs
    return False


def _patch(graph: Graph, folded: list[Node], values: dict[str, np.ndarray]) -> Patch:
    names = Names(graph)
    constants: dict[str, np.ndarray] = {}
    rename: dict[str, str] = {}
    copies: list[Node] = []
    inside = {n.name for n in folded}
    for node in folded:
        for value in node.outputs:
            is_output = value in graph.outputs
            if not is_output and all(n.name in inside for n in graph.consumers[value]):
                continue
            constant = names(f"{value}:folded")
            constants[constant] = values[value]
            if is_output:
                copies.append(Node(names(f"{value}:copy"), Identity(), (constant,), (value,), node.origin))
            else:
                rename[value] = constant
    return Patch("fold-constants", frozenset(inside), tuple(copies), constants, rename)
