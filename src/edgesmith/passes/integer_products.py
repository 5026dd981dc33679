"""Products of dequantised operands as scaled integer products."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from edgesmith.ir import DType, Graph, Node, Op, Patch
from edgesmith.ops.add import Add
from edgesmith.ops.cast import Cast
from edgesmith.ops.conv import Conv
from edgesmith.ops.gemm import Gemm
from edgesmith.ops.integer_products import ConvInteger, MatMulInteger
from edgesmith.ops.matmul import MatMul
from edgesmith.ops.mul import Mul
from edgesmith.passes.editing import Names, merged_origin, nodes_of
from edgesmith.passes.engine import Skipped, rewrite
from edgesmith.passes.quantized_values import INTEGERS, is_dequantized, is_movement

RULE = "integer-products"
NARROW_SUMS, WIDE_SUMS = 1 << 31, 1 << 45
"""Sums are smaller than the first, as i32; or than the second, as i64: kernels hold them in two words."""


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
    added as an integer in units of that scale, Cast and Mul. The sum is exact, in 64 bits where 32 might not hold it;
    the scale is rounded once. The bias is the operator's own, or the constant of an Add after it. Where the product
    stays in floats, weights become f32.
    """
    for node in nodes_of(graph, "Conv", "Gemm", "MatMul"):
        w = _dequantized(graph, node.inputs[1])
        if w is None or w.value not in graph.constants:
            if w is not None:
                yield Skipped(node.name, "its second operand is computed at run time")
            continue
        moved = graph.producer(node.inputs[0])
        if moved is not None and is_movement(moved) and is_dequantized(graph, node.inputs[0]):
            continue  # DequantizeLinear is about to come nearer, see ``quantized_movement``
        product = _Product.of(graph, node, w)
        if isinstance(product, str):
            yield Skipped(node.name, product)
            yield from (_folded(graph, d) for d in _constant_operands(graph, node))
        else:
            yield _patch(graph, product)


def _dequantized(graph: Graph, value: str) -> _Dequantized | None:
    node = graph.producer(value)
    if node is None or node.op.name not in ("DequantizeLinear", "DequantizeLinearByAxis"):
        return None
    source, scale, zero = (*node.inputs, "")[:3]
    if scale not in graph.constants or (zero and zero not in graph.constants):
        return None
    axis = node.op.attributes().get("axis")
    return _Dequantized(node, source, graph.constants[scale], zero, axis if isinstance(axis, int) else None)


def _constant_operands(graph: Graph, node: Node) -> Iterator[_Dequantized]:
    """Weights and bias, where they are dequantised constants."""
    for value in node.read[1:]:
        found = _dequantized(graph, value)
        if found is not None and found.value in graph.constants:
            yield found


@dataclass(frozen=True)
class _Product:
    """A product that integers can compute.

    Args:
        wide: the sums may not fit 32 bits.
        scale: of the sums, f64, for all or by output channel.
        bias: in units of the scale, flat; None without one.
        addend: the constant to add in f32 after scaling, flat, where the bias is too large for an integer.
        last: the node whose result the new nodes give: ``node``, or the Add of a bias.
    """

    node: Node
    x: _Dequantized
    w: _Dequantized
    wide: bool
    scale: np.ndarray
    bias: np.ndarray | None
    addend: np.ndarray | None
    last: Node

    @classmethod
    def of(cls, graph: Graph, node: Node, w: _Dequantized) -> _Product | str:
        """The product, or why there is none."""
        x = _dequantized(graph, node.inputs[0])
        if x is None:
            return "its input is not quantised: weights become f32"
        if x.axis is not None:
            return "its input has a scale for each channel"
        types = [graph.type(v).dtype for v in (x.value, w.value)]
        if types[0] not in INTEGERS or types[1] not in INTEGERS[:3]:
            return f"products of {types[0]} and {types[1]} are computed in f32"
        if types[1] is DType.I16 and w.zero and graph.constants[w.zero].any():
            return "16-bit weights have a zero point"
        axis = _channel_axis(graph, node)
        if w.axis is not None and w.axis != axis:
            return f"scales belong to axis {w.axis} of the weights, not to output channels"
        if isinstance(node.op, Gemm) and node.op.transA:
            return "its input is transposed"
        if isinstance(node.op, MatMul) and graph.type(w.value).rank != 2:
            return "weights are no matrix"
        scale = x.scale.reshape(-1).astype(np.float64) * w.scale.reshape(-1)
        scale = scale * (node.op.alpha if isinstance(node.op, Gemm) else 1.0)
        if not np.isfinite(scale).all() or (np.abs(scale) < np.finfo(np.float32).tiny).any():
            return "a scale is not a normal number"
        lowest, highest = graph.type(x.value).dtype.limits
        zero = int(graph.constants[x.zero].item()) if x.zero else 0
        largest = _weight_sums(graph, w, axis) * max(zero - lowest, highest - zero)
        if largest >= WIDE_SUMS:
            return f"sums of products may reach {largest}, beyond what kernels hold"
        wide = largest >= NARROW_SUMS
        number, last = None, node
        if len(node.read) > 2:
            number = _constant_number(graph, node.inputs[2])
            if number is None:
                return "its bias is computed at run time"
            if number.size not in (1, graph.type(node.inputs[1]).shape[axis]):
                return "its bias differs from row to row"
            number = number.reshape(-1) * (node.op.beta if isinstance(node.op, Gemm) else 1.0)
        else:
            number, last = _bias_after(graph, node)
        if number is None:
            return cls(node, x, w, wide, scale, None, None, last)
        units = np.rint(number / scale)
        if np.abs(units).max(initial=0.0) + largest >= (WIDE_SUMS if wide else NARROW_SUMS):
            return cls(node, x, w, wide, scale, None, number, last)
        return cls(node, x, w, wide, scale, units.astype(np.int64 if wide else np.int32), None, last)


def _channel_axis(graph: Graph, node: Node) -> int:
    """Axis of the weights that output channels run along."""
    if isinstance(node.op, Gemm):
        return 0 if node.op.transB else 1
    return 0 if isinstance(node.op, Conv) else graph.type(node.inputs[1]).rank - 1


def _weight_sums(graph: Graph, w: _Dequantized, axis: int) -> int:
    """The largest sum of an output channel's weights, each without its sign."""
    weights = graph.constants[w.value].astype(np.int64)
    if w.zero:
        zero = graph.constants[w.zero].astype(np.int64)
        weights = weights - (zero if w.axis is None else zero.reshape(_along(w.axis, weights.ndim)))
    others = tuple(a for a in range(weights.ndim) if a != axis)
    return int(np.abs(weights).sum(axis=others).max(initial=0))


def _along(axis: int, rank: int) -> tuple[int, ...]:
    return tuple(-1 if a == axis else 1 for a in range(rank))


def _constant_number(graph: Graph, value: str) -> np.ndarray | None:
    """A constant or dequantised constant in f64."""
    given = _dequantized(graph, value)
    if given is not None and given.value in graph.constants:
        integer = graph.constants[given.value].astype(np.float64)
        zero, scale = graph.constants[given.zero] if given.zero else np.zeros((), np.int32), given.scale
        if given.axis is not None:
            zero, scale = (a.reshape(_along(given.axis, integer.ndim)) if a.size > 1 else a for a in (zero, scale))
        return np.asarray((integer - zero.astype(np.float64)) * scale.astype(np.float64))
    return graph.constants[value].astype(np.float64) if value in graph.constants else None


def _bias_after(graph: Graph, node: Node) -> tuple[np.ndarray | None, Node]:
    """The constant for each output channel that the only reader adds, and that reader; otherwise None and ``node``."""
    add = graph.sole_consumer(node.outputs[0])
    if add is None or add.op.name != "Add":
        return None, node
    (other,) = [v for v in add.inputs if v != node.outputs[0]] or [""]
    number = _constant_number(graph, other) if other else None
    y = graph.type(node.outputs[0])
    if number is None or y != graph.type(add.outputs[0]):
        return None, node
    axis = 1 if isinstance(node.op, Conv) else y.rank - 1
    full = (1,) * (y.rank - number.ndim) + number.shape
    if number.size != 1 and (full[axis] != number.size or number.size != y.shape[axis]):
        return None, node
    return number.reshape(-1), add


def _patch(graph: Graph, product: _Product) -> Patch:
    node, x, w = product.node, product.x, product.w
    names = Names(graph)
    y = graph.type(node.outputs[0])
    channels = y.shape[1 if isinstance(node.op, Conv) else -1]
    along = (-1, *(1,) * (y.rank - 2)) if isinstance(node.op, Conv) else (-1,)
    constants: dict[str, np.ndarray] = {}

    def constant(name: str, array: np.ndarray, *, repeated: bool = False) -> str:
        """A number, or one for each output channel."""
        name = names(name)
        array = np.broadcast_to(array, channels) if repeated or array.size > 1 else array.reshape(())
        constants[name] = np.ascontiguousarray(array).reshape(along if array.ndim else ())
        return name

    weights, zero = w.value, w.zero
    op: Op
    if isinstance(node.op, Conv):
        op = ConvInteger(node.op.window, node.op.group, product.wide)
    else:
        op = MatMulInteger(product.wide)
        if isinstance(node.op, Gemm) and node.op.transB:
            weights = names(f"{w.value}:transposed")
            constants[weights] = np.ascontiguousarray(graph.constants[w.value].T)
    if zero and not graph.constants[zero].any():
        zero = ""
    elif zero and graph.constants[zero].ndim > 1:
        zero = names(f"{zero}:flat")
        constants[zero] = graph.constants[w.zero].reshape(-1)
    inputs: tuple[str, ...] = (x.value, weights, x.zero, zero)
    while not inputs[-1]:
        inputs = inputs[:-1]

    origin = merged_origin(dict.fromkeys((node, x.node, w.node, product.last)))
    value = names(f"{node.name}:sums")
    inserted = [Node(node.name, op, inputs, (value,), origin)]

    def then(suffix: str, op: Op, *others: str) -> None:
        nonlocal value
        made = names(f"{node.name}:{suffix}")
        inserted.append(Node(names(f"{node.name}:{suffix} of sums"), op, (value, *others), (made,), origin))
        value = made

    if product.bias is not None:
        then("biased", Add(), constant(f"{node.name}:bias", product.bias, repeated=product.scale.size > 1))
    then("steps", Cast(DType.F32))
    then("scaled", Mul(), constant(f"{node.name}:scale", product.scale.astype(np.float32)))
    if product.addend is not None:
        then("added", Add(), constant(f"{node.name}:addend", product.addend.astype(np.float32)))
    inserted[-1] = replace(inserted[-1], outputs=product.last.outputs)
    return Patch(RULE, frozenset((node.name, product.last.name)), tuple(inserted), constants)


def _folded(graph: Graph, operand: _Dequantized) -> Patch:
    """A dequantised constant as an f32 constant."""
    node, names = operand.node, Names(graph)
    (value,) = node.op.reference(*(graph.constants[v] if v else None for v in node.inputs))
    constant = names(f"{node.outputs[0]}:folded")
    return Patch(RULE, frozenset((node.name,)), (), {constant: value}, {node.outputs[0]: constant})
