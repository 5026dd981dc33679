"""Folding of BatchNormalization."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from edgesmith.ir import Graph, Node, Patch
from edgesmith.ops.add import Add
from edgesmith.ops.mul import Mul
from edgesmith.passes.affine import Affine, affine, into_consumer, into_producer
from edgesmith.passes.editing import Names, nodes_of
from edgesmith.passes.engine import Skipped, rewrite


@rewrite("fold-batch-norm")
def fold_batch_norm(graph: Graph) -> Iterator[Patch | Skipped]:
    """BatchNormalization goes into the weights and bias of the Conv, ConvTranspose, Gemm or MatMul before or after it.

    Where that is impossible it becomes a Mul and an Add by channel. New constants are computed in f64 and rounded once;
    results differ from the model's by the roundings that are saved and by those of the new constants.
    """
    for node in nodes_of(graph, "BatchNormalization"):
        given = affine(graph, node)
        if given is None:
            yield Skipped(node.name, "its parameters are computed at run time")
            continue
        before = into_producer(graph, "fold-batch-norm", node, given)
        if isinstance(before, Patch):
            yield before
            continue
        after = into_consumer(graph, "fold-batch-norm", node, given)
        yield after if isinstance(after, Patch) else _as_mul_add(graph, node, given)


def _as_mul_add(graph: Graph, node: Node, given: Affine) -> Patch | Skipped:
    dtype = graph.type(node.outputs[0]).dtype.numpy
    names = Names(graph)
    scale, shift, product = (names(f"{node.name}:{part}") for part in ("scale", "shift", "product"))
    with np.errstate(over="ignore"):
        constants = {scale: given.scale[0].astype(dtype), shift: given.shift[0].astype(dtype)}
    if not all(np.isfinite(a).all() for a in constants.values()):
        return Skipped(node.name, "its scale or shift is not finite")
    mul = Node(names(f"{node.name}:mul"), Mul(), (given.x, scale), (product,), node.origin)
    add = replace(node, op=Add(), inputs=(product, shift))
    return Patch("fold-batch-norm", frozenset((node.name,)), (mul, add), constants)
