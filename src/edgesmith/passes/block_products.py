"""Products with weights that are dequantised by block."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edgesmith.ir import Graph, Node, Op, Patch
from edgesmith.ops.add import Add
from edgesmith.ops.block_scales import BlockMatMul, DequantizeLinearByBlock
from edgesmith.ops.gemm import Gemm
from edgesmith.ops.matmul import MatMul
from edgesmith.passes.editing import Names, merged_origin, nodes_of
from edgesmith.passes.engine import Skipped, rewrite

RULE = "block-products"


@rewrite(RULE)
def block_products(graph: Graph) -> Iterator[Patch | Skipped]:
    """MatMul and Gemm with constant weights that have a scale for each block of a reduction become BlockMatMul.

    Its kernels keep the integers in memory. Elsewhere the weights become f32 while the program is compiled.
    """
    for node in nodes_of(graph, "DequantizeLinearByBlock"):
        if any(v not in graph.constants for v in node.read):
            continue
        (weights,) = node.outputs
        readers = graph.consumers[weights]
        reasons = [_obstacle(graph, node, reader) for reader in readers]
        if weights in graph.outputs or not readers or any(reasons):
            yield from (Skipped(r.name, why) for r, why in zip(readers, reasons, strict=True) if why)
            yield _folded(graph, node)
        else:
            yield from (_patch(graph, node, reader) for reader in readers)


def _obstacle(graph: Graph, weights: Node, reader: Node) -> str | None:
    """Why a reader of the weights needs them in floats."""
    op, conversion = reader.op, weights.op
    assert isinstance(conversion, DequantizeLinearByBlock)
    if not isinstance(op, Gemm | MatMul):
        return f"{op.name} reads weights in f32"
    if reader.inputs[1] != weights.outputs[0] or weights.outputs[0] in (reader.inputs[0], *reader.inputs[2:]):
        return "the weights are no right operand"
    x, w = (graph.type(v) for v in reader.inputs[:2])
    if w.rank != 2 or x.rank < 2:
        return "weights are no matrix"
    transposed = isinstance(op, Gemm) and op.transB
    if conversion.axis != (1 if transposed else 0):
        return f"scales belong to blocks along axis {conversion.axis} of the weights, which is not summed over"
    if isinstance(op, Gemm) and (op.transA or op.alpha != 1):
        return "its input is transposed" if op.transA else f"its factor is {op.alpha:g}"
    if isinstance(op, Gemm) and len(reader.read) > 2 and reader.inputs[2] not in graph.constants and op.beta != 1:
        return "its bias is computed at run time"
    return None


def _patch(graph: Graph, weights: Node, node: Node) -> Patch:
    assert isinstance(weights.op, DequantizeLinearByBlock)
    names = Names(graph)
    op = node.op
    constants: dict[str, np.ndarray] = {}
    operands = list(weights.read)
    if isinstance(op, Gemm) and op.transB:
        for i, value in enumerate(operands):
            operands[i] = names(f"{value}:transposed")
            constants[operands[i]] = np.ascontiguousarray(graph.constants[value].T)
    inputs = (node.inputs[0], *operands)
    origin = merged_origin((weights, node))
    product: Op = BlockMatMul(weights.op.block)
    removed = frozenset((node.name,))
    if len(node.read) < 3:
        return Patch(RULE, removed, (Node(node.name, product, inputs, node.outputs, origin),), constants)
    assert isinstance(op, Gemm)
    bias, sums = node.inputs[2], names(f"{node.outputs[0]}:sums")
    if op.beta != 1:
        scaled = names(f"{bias}:scaled")
        constants[scaled] = (graph.constants[bias] * np.float32(op.beta)).astype(np.float32)
        bias = scaled
    add = Node(names(f"{node.name}:bias"), Add(), (sums, bias), node.outputs, origin)
    inserted = (Node(node.name, product, inputs, (sums,), origin), add)
    return Patch(RULE, removed, inserted, constants)


def _folded(graph: Graph, node: Node) -> Patch:
    """Dequantised constants as an f32 constant."""
    names = Names(graph)
    (value,) = node.op.reference(*(graph.constants[v] for v in node.read))
    (output,) = node.outputs
    if output in graph.outputs:
        return Patch(RULE, frozenset((node.name,)), (), {output: value})
    constant = names(f"{output}:folded")
    return Patch(RULE, frozenset((node.name,)), (), {constant: value}, {output: constant})
