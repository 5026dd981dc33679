"""Normal form of matrix products with constant weights: Gemm(x, weights[K, N], bias[N])."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from edgesmith.ir import Graph, Node, Patch
from edgesmith.ops.gemm import Gemm
from edgesmith.ops.reshape import Reshape
from edgesmith.passes.affine import affine, into_producer
from edgesmith.passes.editing import Names, merged_origin, nodes_of, substitute
from edgesmith.passes.engine import Skipped, rewrite


@rewrite("matmul-to-gemm")
def matmul_to_gemm(graph: Graph) -> Iterator[Patch | Skipped]:
    """MatMul of anything by one constant matrix becomes a Gemm between reshapes, with the bias that follows it."""
    for node in nodes_of(graph, "MatMul"):
        x, y = graph.type(node.inputs[0]), graph.type(node.outputs[0])
        weights = graph.constants.get(node.inputs[1])
        if weights is None:
            yield Skipped(node.name, "its second operand is computed at run time")
        elif weights.ndim < 2 or math.prod(weights.shape[:-2]) != 1 or x.rank < 2:
            yield Skipped(node.name, f"{x} by {weights.shape} is not one matrix product")
        elif not y.dtype.is_float or not x.size or not y.size:
            yield Skipped(node.name, f"no Gemm of {x.dtype} or without elements")
        elif not _absorbs_more(graph, node):
            yield _as_gemm(graph, node, weights.reshape(weights.shape[-2:]))


def _absorbs_more(graph: Graph, node: Node) -> bool:
    """True when the operator after it can still go into its weights."""
    follower = graph.sole_consumer(node.outputs[0])
    given = affine(graph, follower) if follower is not None else None
    if follower is None or given is None:
        return False
    return isinstance(into_producer(graph, "", follower, given), Patch)


def _as_gemm(graph: Graph, node: Node, weights: np.ndarray) -> Patch:
    names = Names(graph)
    last, inputs = node, [node.inputs[0], node.inputs[1]]
    constants: dict[str, np.ndarray] = {}
    if graph.type(node.inputs[1]).rank > 2:
        inputs[1] = names(f"{node.name}:weights")
        constants[inputs[1]] = weights
    bias = _bias_after(graph, node)
    if bias is not None:
        last, array = bias
        inputs.append(names(f"{node.name}:bias"))
        constants[inputs[2]] = array
    absorbed = (node,) if last is not node else ()
    if graph.type(inputs[0]).rank == graph.type(last.outputs[0]).rank == 2:
        return substitute("matmul-to-gemm", last, Gemm(), inputs, absorbed=absorbed, constants=constants)
    rows, product = names(f"{node.name}:rows"), names(f"{node.name}:product")
    origin = merged_origin((node, last))
    depth = weights.shape[0]
    matrix = Reshape((graph.type(inputs[0]).size // depth, depth))
    flat = Node(names(f"{node.name}:flatten"), matrix, (inputs[0],), (rows,), node.origin)
    gemm = Node(names(f"{node.name}:gemm"), Gemm(), (rows, *inputs[1:]), (product,), origin)
    shape = graph.type(last.outputs[0]).shape
    return substitute(
        "matmul-to-gemm", last, Reshape(shape), (product,), absorbed=absorbed, before=(flat, gemm), constants=constants
    )


def _bias_after(graph: Graph, node: Node) -> tuple[Node, np.ndarray] | None:
    """The Add of a constant by output column that alone reads the product, and that constant."""
    add = graph.sole_consumer(node.outputs[0])
    given = affine(graph, add) if add is not None and add.op.name in ("Add", "Sub") else None
    if add is None or given is None or not bool((given.scale == 1).all()):
        return None
    y = graph.type(add.outputs[0])
    pair = given.along(y.rank - 1, y.shape[-1])
    return None if pair is None else (add, np.ascontiguousarray(pair[1].astype(y.dtype.numpy)))


@rewrite("gemm-normal-form")
def normalize_gemm(graph: Graph) -> Iterator[Patch | Skipped]:
    """Gemm with constant weights [K, N] in the order of the product, alpha and beta inside the constants, bias [N].

    alpha and beta are multiplied into the constants in f64 and rounded once. A bias of zeros goes.
    """
    for node in nodes_of(graph, "Gemm"):
        assert isinstance(node.op, Gemm)
        reason = _normalized(graph, node)
        if isinstance(reason, Patch):
            yield reason
        elif reason:
            yield Skipped(node.name, reason)


def _normalized(graph: Graph, node: Node) -> Patch | str | None:
    op = node.op
    assert isinstance(op, Gemm)
    names, constants = Names(graph), {}
    weights = graph.constants.get(node.inputs[1])
    bias = node.inputs[2] if len(node.inputs) > 2 else ""
    given = graph.constants.get(bias)
    if weights is None:
        return "its weights are computed at run time"
    if bias and given is None:
        return "its bias is computed at run time" if op.alpha != 1 or op.transB else None
    inputs = [node.inputs[0], node.inputs[1]]
    if op.alpha != 1 or op.transB:
        scaled = (weights.astype(np.float64) * op.alpha).astype(weights.dtype) if op.alpha != 1 else weights
        inputs[1] = names(f"{node.name}:weights")
        constants[inputs[1]] = np.ascontiguousarray(scaled.T if op.transB else scaled)
    if given is not None:
        columns = graph.type(node.outputs[0]).shape[1]
        new = (given.astype(np.float64) * op.beta).astype(given.dtype) if op.beta != 1 else given
        if new.shape != (columns,) and (new.ndim < 2 or new.shape[0] == 1):
            new = np.ascontiguousarray(np.broadcast_to(new.reshape(-1), columns))
        if new.any():
            if new is not given:
                bias = names(f"{node.name}:bias")
                constants[bias] = new
            inputs.append(bias)
    wanted = Gemm(transA=op.transA)
    if op == wanted and tuple(inputs) == tuple(v for v in node.inputs if v):
        return None
    if not all(np.isfinite(a).all() for a in constants.values()):
        return "the folded constants are not finite"
    return substitute("gemm-normal-form", node, wanted, inputs, constants=constants)
