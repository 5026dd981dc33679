"""Means over all of space become GlobalAveragePool."""

from __future__ import annotations

from collections.abc import Iterator

from edgesmith.ir import DType, Graph, Node, Patch, TensorType
from edgesmith.ops.average_pool import AveragePool
from edgesmith.ops.global_average_pool import GlobalAveragePool
from edgesmith.ops.reductions import ReduceMean
from edgesmith.ops.reshape import Reshape
from edgesmith.passes.editing import Names, nodes_of, substitute
from edgesmith.passes.engine import Skipped, rewrite


@rewrite("global-average-pool")
def to_global_average_pool(graph: Graph) -> Iterator[Patch | Skipped]:
    """ReduceMean over all spatial axes, and AveragePool whose only window is the whole input."""
    rule = "global-average-pool"
    for node in nodes_of(graph, "ReduceMean", "AveragePool"):
        x = graph.type(node.inputs[0])
        reason = _different(node, x)
        if reason:
            yield Skipped(node.name, reason)
        elif graph.type(node.outputs[0]).rank == x.rank:
            yield substitute(rule, node, GlobalAveragePool(), node.inputs)
        else:
            names = Names(graph)
            pooled = names(f"{node.name}:pooled")
            pool = Node(names(f"{node.name}:pool"), GlobalAveragePool(), node.inputs, (pooled,), node.origin)
            yield substitute(rule, node, Reshape(graph.type(node.outputs[0]).shape), (pooled,), before=(pool,))


def _different(node: Node, x: TensorType) -> str | None:
    spatial = tuple(range(2, x.rank))
    if x.dtype is not DType.F32 or not spatial or not x.size:
        return f"no GlobalAveragePool of {x}"
    if isinstance(node.op, ReduceMean):
        if x.rank < 4:
            return f"{x} may be a sequence of vectors, not an image"
        return None if node.op.axes == spatial else f"it averages axes {node.op.axes}, not {spatial}"
    assert isinstance(node.op, AveragePool)
    window = node.op.window
    padded = any((*window.pads_begin, *window.pads_end))
    if window.kernel != x.shape[2:] or padded or set(window.dilations) != {1}:
        return f"its window {window} is not the whole input {x}"
    return None
