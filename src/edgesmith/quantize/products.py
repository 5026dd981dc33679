"""Conv, Gemm and MatMul with constant weights: what integer products can compute."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgesmith.ir import DType, Graph, Node
from edgesmith.ops.conv import Conv
from edgesmith.ops.gemm import Gemm
from edgesmith.ops.matmul import MatMul

__all__ = ["MAX_BIAS", "Product", "product"]

MAX_BIAS = 2**30
"""Largest bias in integer units."""
MAX_TERMS = (2**31 - MAX_BIAS) // (255 * 128)
"""Most products of 8-bit integers whose sum, with a bias, fits 32 bits."""


@dataclass(frozen=True, eq=False)
class Product:
    """A node whose second input is constant weights.

    Args:
        axis: axis of the weights that output channels run along.
        bias: f32, one for each output channel; None: there is none.
        gain: factor on the sum of products (alpha of Gemm).
        bias_gain: factor on the bias (beta of Gemm).
    """

    node: Node
    weights: np.ndarray
    axis: int
    bias: np.ndarray | None
    gain: float = 1.0
    bias_gain: float = 1.0

    @property
    def input(self) -> str:
        return self.node.inputs[0]

    @property
    def channels(self) -> int:
        return int(self.weights.shape[self.axis])


def product(graph: Graph, node: Node) -> Product | str:
    """The product that a Conv, Gemm or MatMul computes, or why it has to stay in floats."""
    if not isinstance(node.op, Conv | Gemm | MatMul):
        return f"{node.op.name} has no integer form"
    x = graph.type(node.inputs[0])
    weights = graph.constants.get(node.inputs[1])
    if weights is None:
        return "its weights are computed at run time"
    if x.dtype is not DType.F32 or weights.dtype != np.float32:
        return f"it computes in {x.dtype}"
    if not np.isfinite(weights).all():
        return "its weights are not finite"
    axis, gain, bias_gain = 0, 1.0, 1.0
    if isinstance(node.op, Gemm):
        if node.op.transA:
            return "its input is transposed"
        axis, gain, bias_gain = (0 if node.op.transB else 1), node.op.alpha, node.op.beta
    elif isinstance(node.op, MatMul):
        if weights.ndim != 2:
            return "its weights are no matrix"
        axis = 1
    terms = weights.size // max(weights.shape[axis], 1)
    if not 0 < terms <= MAX_TERMS:
        return f"sums of {terms} products do not fit 32 bits"
    if gain <= 0 or not np.isfinite([gain, bias_gain]).all():
        return f"its factor is {gain:g}"
    found = _bias(graph, node, weights.shape[axis])
    if isinstance(found, str):
        return found
    return Product(node, weights, axis, found, gain, bias_gain)


def _bias(graph: Graph, node: Node, channels: int) -> np.ndarray | str | None:
    if len(node.read) < 3:
        return None
    bias = graph.constants.get(node.inputs[2])
    if bias is None:
        return "its bias is computed at run time"
    if bias.size not in (1, channels) or (bias.size > 1 and bias.shape[-1] != channels):
        return "its bias differs from row to row"
    if not np.isfinite(bias).all():
        return "its bias is not finite"
    return np.asarray(np.broadcast_to(bias.reshape(-1), channels), np.float32)
