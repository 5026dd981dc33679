"""Products of dequantised operands as scaled integer products."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import numpy as np

from edgesmith.ir import DType, Graph, Node, Op, Patch
from edgesmith.ops.add import Add
from edgesmith.ops.cast import Cast
from edgesmith.ops.conv import Conv
from edgesmith.ops.gemm import Gemm
from edgesmith.ops.integer_products import BYTES, ConvInteger, MatMulInteger
from edgesmith.ops.matmul import MatMul
from edgesmith.ops.mul import Mul
from edgesmith.passes.editing import Names, merged_origin, nodes_of
from edgesmith.passes.engine import Skipped, rewrite

RULE = "integer-products"


@dataclass(frozen=True)
class _Dequantized:
    """(value - zero) * scale, as a DequantizeLinear computes it."""

    node: Node
    value: str
    scale: np.ndarray
    zero: str
    axis: int | None
    """Axis that scales and zero points belong to; None: one for all."""


@rewrite(RULE)
def integer_products(graph: Graph) -> Iterator[Patch | Skipped]:
    """Conv, Gemm and MatMul of a dequantised input and dequantised constant weights.

    Such a product is scale_x * scale_w times a sum of products of integers: ConvInteger or MatMulInteger, the bias
    added as an integer in units of that scale, Cast and Mul. The sum is exact, the scale is rounded once.
    """
    for node in nodes_of(graph, "Conv", "Gemm", "MatMul"):
        w = _dequantized(graph, node.inputs[1])
        if w is None or w.value not in graph.constants:
            continue
        x = _dequantized(graph, node.inputs[0])
        reason = _unfit(graph, node, x, w)
        if reason is None:
            assert x is not None
            yield _patch(graph, node, x, w)
        else:
            yield Skipped(node.name, reason)
            yield _folded(graph, w)


def _dequantized(graph: Graph, value: str) -> _Dequantized | None:
    node = graph.producer(value)
    if node is None or node.op.name not in ("DequantizeLinear", "DequantizeLinearByAxis"):
        return None
    source, scale, zero = (*node.inputs, "")[:3]
    if scale not in graph.constants or (zero and zero not in graph.constants):
        return None
    axis = node.op.attributes().get("axis")
    return _Dequantized(node, source, graph.constants[scale], zero, axis if isinstance(axis, int) else None)


def _unfit(graph: Graph, node: Node, x: _Dequantized | None, w: _Dequantized) -> str | None:
    if x is None:
        return "its input is not quantised: weights become f32"
    if x.axis is not None:
        return "its input has a scale for each channel"
    if graph.type(x.value).dtype not in BYTES or graph.type(w.value).dtype not in BYTES:
        return f"products of {graph.type(x.value).dtype} and {graph.type(w.value).dtype} are computed in f32"
    if w.axis is not None and w.axis != _channel_axis(graph, node):
        return f"scales belong to axis {w.axis} of the weights, not to output channels"
    scales = x.scale.astype(np.float64) * w.scale.astype(np.float64)
    if not np.isfinite(scales).all() or (np.abs(scales) < np.finfo(np.float32).tiny).any():
        return "a scale is not a normal number"
    if isinstance(node.op, Gemm) and node.op.transA:
        return "its input is transposed"
    if isinstance(node.op, MatMul) and graph.type(w.value).rank != 2:
        return "weights are no matrix"
    if len(node.read) > 2:
        bias = _bias(graph, node)
        if bias is None:
            return "its bias is computed at run time"
        if bias.size not in (1, _channels(graph, node)):
            return "its bias differs from row to row"
        if np.max(np.abs(bias / scales.reshape(-1)), initial=0.0) >= 2**30:
            return "its bias is too large for an i32 of that scale"
    return None


def _channel_axis(graph: Graph, node: Node) -> int:
    """Axis of the weights that output channels run along."""
    if isinstance(node.op, Gemm):
        return 0 if node.op.transB else 1
    return 0 if isinstance(node.op, Conv) else graph.type(node.inputs[1]).rank - 1


def _channels(graph: Graph, node: Node) -> int:
    return graph.type(node.inputs[1]).shape[_channel_axis(graph, node)]


def _bias(graph: Graph, node: Node) -> np.ndarray | None:
    """The bias in f64, flat."""
    value = node.inputs[2]
    given = _dequantized(graph, value)
    if given is not None and given.value in graph.constants:
        number = graph.constants[given.value].astype(np.float64)
        zero = graph.constants[given.zero].astype(np.float64) if given.zero else 0.0
        array = (number - zero) * given.scale.astype(np.float64)
    elif value in graph.constants:
        array = graph.constants[value].astype(np.float64)
    else:
        return None
    return array.reshape(-1) * (node.op.beta if isinstance(node.op, Gemm) else 1.0)


def _patch(graph: Graph, node: Node, x: _Dequantized, w: _Dequantized) -> Patch:
    names = Names(graph)
    y = graph.type(node.outputs[0])
    scale = (x.scale.reshape(-1) * w.scale.reshape(-1)).astype(np.float32)
    constants: dict[str, np.ndarray] = {}
    weights = w.value
    op: Op
    if isinstance(node.op, Conv):
        op = ConvInteger(node.op.window, node.op.group)
    else:
        op = MatMulInteger()
        if isinstance(node.op, Gemm):
            scale = np.float32(node.op.alpha) * scale
            if node.op.transB:
                weights = names(f"{w.value}:transposed")
                constants[weights] = np.ascontiguousarray(graph.constants[w.value].T)
    zero = w.zero
    if zero and not graph.constants[zero].any():
        zero = ""
    elif zero and graph.constants[zero].ndim > 1:
        zero = names(f"{zero}:flat")
        constants[zero] = graph.constants[w.zero].reshape(-1)
    along = (-1, *(1,) * (y.rank - 2)) if isinstance(node.op, Conv) else (-1,)

    sums, steps = names(f"{node.name}:sums"), names(f"{node.name}:steps")
    inputs: tuple[str, ...] = (x.value, weights, x.zero, zero)
    while not inputs[-1]:
        inputs = inputs[:-1]
    origin = merged_origin((node, x.node, w.node))
    inserted = [Node(node.name, op, inputs, (sums,), origin)]
    if len(node.read) > 2:
        bias = _bias(graph, node)
        assert bias is not None
        number, biased = names(f"{node.name}:bias"), names(f"{node.name}:biased")
        exact = np.float64(1.0) * x.scale.reshape(-1) * w.scale.reshape(-1)
        if isinstance(node.op, Gemm):
            exact = exact * node.op.alpha
        units = np.rint(bias / exact).astype(np.int32)
        units = np.broadcast_to(units, _channels(graph, node)) if units.size > 1 or scale.size > 1 else units
        constants[number] = np.ascontiguousarray(units).reshape(along)
        inserted.append(Node(names(f"{node.name}:add"), Add(), (sums, number), (biased,), origin))
        sums = biased
    factor = names(f"{node.name}:scale")
    constants[factor] = scale.reshape(along) if prod(scale.shape) > 1 else scale.reshape(())
    inserted.append(Node(names(f"{node.name}:cast"), Cast(DType.F32), (sums,), (steps,), origin))
    inserted.append(Node(names(f"{node.name}:mul"), Mul(), (steps, factor), node.outputs, origin))
    return Patch(RULE, frozenset((node.name,)), tuple(inserted), constants)


def _folded(graph: Graph, w: _Dequantized) -> Patch:
    """Weights whose product stays in floats as f32 constants."""
    names = Names(graph)
    (value,) = w.node.op.reference(*(graph.constants[v] if v else None for v in w.node.inputs))
    constant = names(f"{w.node.outputs[0]}:folded")
    return Patch(RULE, frozenset((w.node.name,)), (), {constant: value}, {w.node.outputs[0]: constant})
