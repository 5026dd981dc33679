"""Affine operators, y = x * scale + shift with constants, and their absorption by linear operators next to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgesmith.ir import Graph, Node, Op, Patch
from edgesmith.ops.batch_normalization import BatchNormalization
from edgesmith.ops.conv import Conv
from edgesmith.ops.conv_transpose import ConvTranspose
from edgesmith.ops.gemm import Gemm
from edgesmith.ops.matmul import MatMul
from edgesmith.passes.editing import Names, substitute
from edgesmith.passes.facts import constant_input

__all__ = ["Affine", "affine", "into_consumer", "into_producer"]


@dataclass(frozen=True)
class Affine:
    """y = x * scale + shift; both f64, of the rank of y, each axis of length 1 or as long as in y."""

    x: str
    scale: np.ndarray
    shift: np.ndarray

    def along(self, axis: int, extent: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Scale and shift of each element of one axis; None where they vary along another."""
        rows = []
        for array in (self.scale, self.shift):
            if any(n != 1 for a, n in enumerate(array.shape) if a != axis):
                return None
            rows.append(np.broadcast_to(array.reshape(-1), extent))
        return rows[0], rows[1]


def affine(graph: Graph, node: Node) -> Affine | None:
    """What ``node`` computes, if it is affine with constants and floats: BatchNormalization, Mul, Div, Add or Sub."""
    (y,) = graph.output_types(node) if len(node.outputs) == 1 else (None,)
    if y is None or not y.dtype.is_float or not y.rank:
        return None
    one, zero = np.ones((1,) * y.rank), np.zeros((1,) * y.rank)
    if isinstance(node.op, BatchNormalization):
        given = [graph.constants.get(v) for v in node.read[1:]]
        if y.rank < 2 or any(a is None for a in given):
            return None
        shape = (1, -1, *(1,) * (y.rank - 2))
        gamma, beta, mean, variance = (a.astype(np.float64).reshape(shape) for a in given if a is not None)
        scale = gamma / np.sqrt(variance + node.op.epsilon)
        return Affine(node.inputs[0], scale, beta - mean * scale)
    found = constant_input(graph, node)
    if found is None or graph.type(found.other) != y:
        return None
    c = found.array.astype(np.float64).reshape((1,) * (y.rank - found.array.ndim) + found.array.shape)
    if node.op.name == "Mul":
        return Affine(found.other, c, zero)
    if node.op.name == "Add":
        return Affine(found.other, one, c)
    if node.op.name == "Sub":
        return Affine(found.other, one, -c) if found.index == 1 else Affine(found.other, -one, c)
    if node.op.name == "Div" and found.index == 1 and bool(np.all(c != 0)):
        return Affine(found.other, 1 / c, zero)
    return None


@dataclass(frozen=True)
class _Folded:
    """A linear operator with its new constant operands (None: unchanged)."""

    op: Op
    weights: np.ndarray
    bias: np.ndarray | None


def into_producer(graph: Graph, rule: str, node: Node, given: Affine) -> Patch | str:
    """The affine ``node`` absorbed by the linear operator that computes its input; or why not."""
    linear = graph.producer(given.x)
    if linear is None or not isinstance(linear.op, Conv | ConvTranspose | Gemm | MatMul):
        return "no linear operator computes its input"
    if graph.sole_consumer(given.x) is not node:
        return f"{linear.name} is read by others too"
    reason = _fixed_weights(graph, linear)
    if reason:
        return reason
    y = graph.type(node.outputs[0])
    axis = 1 if isinstance(linear.op, Conv | ConvTranspose) else y.rank - 1
    pair = given.along(axis, y.shape[axis])
    if pair is None:
        return f"it differs along other axes than the output channels of {linear.name}"
    folded = _scale_outputs(graph, linear, *pair)
    return folded if isinstance(folded, str) else _patch(graph, rule, node, linear, linear.inputs[0], folded)


def into_consumer(graph: Graph, rule: str, node: Node, given: Affine) -> Patch | str:
    """The affine ``node`` absorbed by the linear operator that reads its output; or why not."""
    linear = graph.sole_consumer(node.outputs[0])
    if linear is None or not isinstance(linear.op, Conv | Gemm | MatMul) or linear.inputs[0] != node.outputs[0]:
        return "no linear operator alone reads its output"
    reason = _fixed_weights(graph, linear)
    if reason:
        return reason
    x = graph.type(given.x)
    axis = 1 if isinstance(linear.op, Conv) else x.rank - 1
    pair = given.along(axis, x.shape[axis])
    if pair is None:
        return f"it differs along other axes than the input channels of {linear.name}"
    folded = _scale_inputs(graph, linear, *pair)
    return folded if isinstance(folded, str) else _patch(graph, rule, linear, node, given.x, folded)


def _fixed_weights(graph: Graph, linear: Node) -> str | None:
    if any(v not in graph.constants for v in linear.read[1:]):
        return f"the weights of {linear.name} are computed at run time"
    if len(graph.consumers[linear.inputs[1]]) > 1:
        return f"the weights of {linear.name} are shared"
    if isinstance(linear.op, Gemm) and (linear.op.alpha != 1 or linear.op.beta != 1 or linear.op.transA):
        return f"{linear.name} has factors or a transposed operand"
    return None


def _bias(graph: Graph, linear: Node) -> np.ndarray | None:
    """The bias in f64, if there is one."""
    value = linear.inputs[2] if len(linear.inputs) > 2 else ""
    return graph.constants[value].astype(np.float64) if value else None


def _scale_outputs(graph: Graph, linear: Node, scale: np.ndarray, shift: np.ndarray) -> _Folded | str:
    weights, bias = graph.constants[linear.inputs[1]].astype(np.float64), _bias(graph, linear)
    op = linear.op
    new_bias = shift if bias is None else bias * scale + shift
    has_bias = bias is not None or bool(shift.any())
    if isinstance(op, Conv):
        return _Folded(op, weights * scale.reshape(-1, *(1,) * (weights.ndim - 1)), new_bias if has_bias else None)
    if isinstance(op, ConvTranspose):
        grouped = weights.reshape(op.group, -1, *weights.shape[1:])
        factors = scale.reshape(op.group, 1, -1, *(1,) * (weights.ndim - 2))
        return _Folded(op, (grouped * factors).reshape(weights.shape), new_bias if has_bias else None)
    if isinstance(op, Gemm):
        return _Folded(op, weights * (scale[:, None] if op.transB else scale), new_bias if has_bias else None)
    if weights.ndim < 2 or weights.shape[-1] != scale.size:
        return f"{linear.name} multiplies by a vector"
    if not shift.any():
        return _Folded(op, weights * scale, None)
    if graph.type(linear.inputs[0]).rank != 2 or weights.ndim != 2:
        return f"{linear.name} is no product of two matrices, which a Gemm with bias is"
    return _Folded(Gemm(), weights * scale, shift)


def _scale_inputs(graph: Graph, linear: Node, scale: np.ndarray, shift: np.ndarray) -> _Folded | str:
    weights, bias = graph.constants[linear.inputs[1]].astype(np.float64), _bias(graph, linear)
    op = linear.op
    if isinstance(op, Conv):
        window = op.window
        if shift.any() and any((*window.pads_begin, *window.pads_end)):
            return f"its shift would also have to enter the zero padding of {linear.name}"
        per_group = (op.group, 1, weights.shape[1], *(1,) * (weights.ndim - 2))
        grouped = weights.reshape(op.group, -1, *weights.shape[1:])
        added = (grouped * shift.reshape(per_group)).sum(axis=tuple(range(2, grouped.ndim))).reshape(-1)
        scaled = (grouped * scale.reshape(per_group)).reshape(weights.shape)
    elif isinstance(op, Gemm):
        rows = weights.T if op.transB else weights
        added, product = shift @ rows, rows * scale[:, None]
        scaled = product.T if op.transB else product
    else:
        if weights.ndim < 2 or shift.any():
            return f"{linear.name} takes no bias"
        return _Folded(op, weights * scale[:, None], None)
    if bias is None:
        return _Folded(op, scaled, added if shift.any() else None)
    return _Folded(op, scaled, bias + added)


def _patch(graph: Graph, rule: str, node: Node, absorbed: Node, x: str, folded: _Folded) -> Patch | str:
    """``node`` becomes the folded operator on ``x``, and ``absorbed`` goes."""
    dtype = graph.type(node.outputs[0]).dtype.numpy
    constants = _stored(Names(graph), node.name, folded, dtype)
    if not all(np.isfinite(array).all() for array in constants.values()):
        return "the folded constants are not finite"
    return substitute(rule, node, folded.op, (x, *constants), absorbed=(absorbed,), constants=constants)


def _stored(names: Names, name: str, folded: _Folded, dtype: np.dtype[np.generic]) -> Mapping[str, np.ndarray]:
    with np.errstate(over="ignore"):
        constants = {names(f"{name}:weights"): np.ascontiguousarray(folded.weights.astype(dtype))}
        if folded.bias is not None:
            constants[names(f"{name}:bias")] = np.ascontiguousarray(folded.bias.astype(dtype))
    return constants
