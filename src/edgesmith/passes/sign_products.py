"""Products of signs with binary or ternary weights, as integer sums."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from edgesmith.ir import DType, Graph, Node, Op, Patch
from edgesmith.ops.add import Add
from edgesmith.ops.cast import Cast
from edgesmith.ops.conv import Conv
from edgesmith.ops.gemm import Gemm
from edgesmith.ops.integer_products import ConvInteger
from edgesmith.ops.mul import Mul
from edgesmith.ops.quantize_linear import QuantizeLinear
from edgesmith.ops.sign_products import SignConv, SignMatMul
from edgesmith.passes.editing import Names, nodes_of
from edgesmith.passes.engine import Skipped, rewrite
from edgesmith.passes.possible_values import PossibleValues

RULE = "sign-products"
_SIGNS = frozenset((-1.0, 0.0, 1.0))


@rewrite(RULE)
def sign_products(graph: Graph) -> Iterator[Patch | Skipped]:
    """Conv, Gemm and MatMul of a value that is -a, 0 or a, with weights that are so for each output channel.

    Such a product is a SignConv or SignMatMul, Cast, and Mul by both scales; the bias is added in f32. What holds signs
    is found by ``PossibleValues``: Sign, Where(x >= 0, a, -a), Sign(Sign(x) + 0.1) as Larq writes it, differences of
    comparisons as Brevitas does, quantised or moved in between. A NaN counts as -1. ConvInteger and MatMulInteger of
    bytes that are -1, 0 or 1 become the same.
    """
    possible = PossibleValues(graph)
    for node in nodes_of(graph, "Conv", "Gemm", "MatMul", "ConvInteger", "MatMulInteger"):
        if node.inputs[1] not in graph.constants or node.inputs[0] in graph.constants:
            continue
        numbers = possible(node.inputs[0])
        if not numbers or len({abs(n) for n in numbers} - {0.0}) != 1:
            continue
        reason = _obstacle(graph, node)
        if reason is not None:
            yield Skipped(node.name, reason)
        elif "Integer" in node.op.name:
            if numbers <= _SIGNS and _is_ternary(graph, node):
                yield _of_integers(graph, node, binary=0.0 not in numbers)
        else:
            found = _Weights.of(graph, node)
            if found is None:
                yield Skipped(node.name, "its weights are not -a, 0 or a in each output channel")
            else:
                yield _of_floats(graph, node, found, numbers)


def _obstacle(graph: Graph, node: Node) -> str | None:
    """Why a product of signs stays as it is."""
    x = graph.type(node.inputs[0])
    if isinstance(node.op, Conv | ConvInteger):
        if x.rank != 4:
            return f"{x.rank - 2} spatial axes"
        if node.op.group != 1:
            return f"{node.op.group} groups"
    elif graph.type(node.inputs[1]).rank != 2 or x.rank < 2:
        return "weights are no matrix"
    if isinstance(node.op, Gemm) and node.op.transA:
        return "its input is transposed"
    if "Integer" not in node.op.name and len(node.read) > 2 and node.inputs[2] not in graph.constants:
        return "its bias is computed at run time"
    return None if x.dtype in (DType.F32, DType.I8) else f"signs of type {x.dtype}"


@dataclass(frozen=True)
class _Weights:
    """Weights as signs times a scale.

    Args:
        signs: i8, laid out as SignConv or SignMatMul reads them.
        scale: f64, one for all or one for each output channel.
    """

    signs: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, graph: Graph, node: Node) -> _Weights | None:
        weights = graph.constants[node.inputs[1]]
        if isinstance(node.op, Gemm) and node.op.transB:
            weights = weights.T
        axis = 0 if isinstance(node.op, Conv) else 1
        others = tuple(a for a in range(weights.ndim) if a != axis)
        size = np.abs(weights)
        largest = size.max(axis=others, keepdims=True, initial=0)
        if not np.isfinite(largest).all() or not ((size == 0) | (size == largest)).all():
            return None
        scale = np.where(largest == 0, 1, largest).astype(np.float64).reshape(-1)
        return cls(np.sign(weights).astype(np.int8), scale[:1] if (scale == scale[0]).all() else scale)


def _of_floats(graph: Graph, node: Node, weights: _Weights, numbers: frozenset[float]) -> Patch:
    names = Names(graph)
    size = max(numbers)
    alpha, beta = (node.op.alpha, node.op.beta) if isinstance(node.op, Gemm) else (1.0, 1.0)
    along = (-1, 1, 1) if isinstance(node.op, Conv) else (-1,)
    constants = {
        names(f"{node.name}:size of signs"): np.array(size, np.float32),
        names(f"{node.name}:signs of weights"): np.ascontiguousarray(weights.signs),
        names(f"{node.name}:scale"): (weights.scale * size * alpha).astype(np.float32),
    }
    one, signs, scale = constants
    constants[scale] = constants[scale].reshape(along if constants[scale].size > 1 else ())
    value = names(f"{node.inputs[0]}:signs")
    inserted = [Node(names(f"{node.name}:signs"), QuantizeLinear(DType.I8), (node.inputs[0], one), (value,))]

    def then(name: str, op: Op, *others: str) -> None:
        nonlocal value
        made = names(f"{node.name}:{name}")
        inserted.append(Node(names(f"{node.name}:{name} of signs"), op, (value, *others), (made,), node.origin))
        value = made

    binary = 0.0 not in numbers
    op: Op = SignMatMul(binary)
    if isinstance(node.op, Conv):
        op = SignConv(node.op.window, 1, binary)
    then("sums", op, signs)
    inserted[-1] = replace(inserted[-1], name=node.name)
    then("steps", Cast(DType.F32))
    then("scaled", Mul(), scale)
    if len(node.read) > 2:
        addend = names(f"{node.name}:addend")
        bias = graph.constants[node.inputs[2]].astype(np.float64) * beta
        constants[addend] = bias.astype(np.float32).reshape(along if isinstance(node.op, Conv) else bias.shape)
        then("added", Add(), addend)
    inserted[-1] = replace(inserted[-1], outputs=node.outputs)
    return Patch(RULE, frozenset((node.name,)), tuple(inserted), constants)


def _is_ternary(graph: Graph, node: Node) -> bool:
    """Whether integer weights are -1, 0 or 1, and all zero points 0."""
    zeros = [graph.constants.get(v) for v in node.inputs[2:] if v]
    weights = graph.constants[node.inputs[1]]
    return all(z is not None and not z.any() for z in zeros) and bool((np.abs(weights.astype(np.int16)) <= 1).all())


def _of_integers(graph: Graph, node: Node, *, binary: bool) -> Patch:
    op: Op = SignConv(node.op.window, 1, binary) if isinstance(node.op, ConvInteger) else SignMatMul(binary)
    return Patch(RULE, frozenset((node.name,)), (replace(node, op=op, inputs=node.inputs[:2]),))
