"""Quantisation by the range of each run, as operators that kernels compute well."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import prod

import numpy as np

from edgesmith.ir import DType, Graph, Node, Op, Patch
from edgesmith.ops.cast import Cast
from edgesmith.ops.clip import Clip
from edgesmith.ops.comparison import Equal
from edgesmith.ops.division import Div
from edgesmith.ops.functions import Round
from edgesmith.ops.integer_products import ConvInteger, MatMulInteger
from edgesmith.ops.mul import Mul
from edgesmith.ops.quantize_linear import QuantizeLinear
from edgesmith.ops.reductions import ReduceMax, ReduceMin
from edgesmith.ops.sign import Neg
from edgesmith.ops.sub import Sub
from edgesmith.ops.where import Where
from edgesmith.passes.editing import Names, nodes_of
from edgesmith.passes.engine import Skipped, rewrite

MOST_SUMS = 1 << 20
"""Elements of the sums of weights that a padded convolution may need, one for each of its outputs."""


@rewrite("dynamic-quantization")
def dynamic_quantization(graph: Graph) -> Iterator[Patch | Skipped]:
    """DynamicQuantizeLinear as reductions, arithmetic of single numbers, and a QuantizeLinear."""
    for node in nodes_of(graph, "DynamicQuantizeLinear"):
        if graph.type(node.inputs[0]).size and node.inputs[0] not in graph.constants:
            yield _decomposed(graph, node)


def _decomposed(graph: Graph, node: Node) -> Patch:
    names = Names(graph)
    (x,), (y, scale, zero) = node.inputs, node.outputs
    steps, nothing, unit = (names(f"{node.name}:{number}") for number in (255, 0, 1))
    constants = {steps: np.float32(255), nothing: np.float32(0), unit: np.float32(1)}
    inserted: list[Node] = []

    def add(op: Op, inputs: tuple[str, ...], output: str = "") -> str:
        output = output or names(f"{node.name}:{op.name.lower()}")
        inserted.append(Node(names(f"{node.name}:{op.name}"), op, inputs, (output,), node.origin))
        return output

    axes = tuple(range(graph.type(x).rank))
    low = add(Clip(None, 0.0), (add(ReduceMin(axes, 0), (x,)),))
    high = add(Clip(0.0, None), (add(ReduceMax(axes, 0), (x,)),))
    step = add(Div(), (add(Sub(), (high, low)), steps))
    # A range of 0 has steps of 1: its numbers are all 0.
    add(Where(), (add(Equal(), (step, nothing)), unit, step), scale)
    point = add(Round(), (add(Clip(0.0, 255.0), (add(Div(), (add(Neg(), (low,)), scale)),)),))
    add(Cast(DType.U8), (point,), zero)
    add(QuantizeLinear(DType.U8), (x, scale, zero), y)
    return Patch(
        "dynamic-quantization",
        frozenset((node.name,)),
        tuple(inserted),
        {v: np.asarray(a) for v, a in constants.items()},
    )


@rewrite("run-time-zero-points")
def run_time_zero_points(graph: Graph) -> Iterator[Patch | Skipped]:
    """A zero point z of the input that the run decides goes out of the sum.

    sum (x - z) (w - v) = sum x (w - v) - z sum (w - v), where v is the weights' own zero point, or none. The sums of
    weights are constants, with padding one for each output.
    """
    for node in nodes_of(graph, "ConvInteger", "MatMulInteger"):
        zero = node.inputs[2] if len(node.inputs) > 2 else ""
        if not zero or zero in graph.constants:
            continue
        if any(v not in graph.constants for v in (node.inputs[1], *node.inputs[3:]) if v):
            yield Skipped(node.name, "its weights are computed at run time")
        elif graph.type(node.inputs[1]).rank != 2 and isinstance(node.op, MatMulInteger):
            yield Skipped(node.name, "weights are no matrix")
        elif isinstance(node.op, ConvInteger) and _sums_shape(graph, node)[1] > MOST_SUMS:
            yield Skipped(node.name, f"the sums of its weights by output take {_sums_shape(graph, node)[1]} elements")
        else:
            yield _apart(graph, node, zero)


def _sums_shape(graph: Graph, node: Node) -> tuple[tuple[int, ...], int]:
    """Shape of the sums of weights, and its number of elements."""
    y = graph.type(node.outputs[0]).shape
    assert isinstance(node.op, ConvInteger)
    window = node.op.window
    padded = any((*window.pads_begin, *window.pads_end))
    shape = (1, y[1], *(y[2:] if padded else (1,) * len(y[2:])))
    return shape, prod(shape)


def _apart(graph: Graph, node: Node, zero: str) -> Patch:
    names = Names(graph)
    operands = [graph.constants[v] if v else None for v in (node.inputs[1], *node.inputs[3:])]
    x = graph.type(node.inputs[0])
    if isinstance(node.op, ConvInteger):
        # Over ones, with padding that does not count, a convolution sums the weights that fall inside.
        ones = np.ones((1, *x.shape[1:]), x.dtype.numpy)
        (sums,) = node.op.reference(ones, operands[0], None, *operands[1:])
        sums = sums[tuple(slice(0, n) for n in _sums_shape(graph, node)[0])]
    else:
        (sums,) = node.op.reference(np.ones((1, x.shape[-1]), x.dtype.numpy), operands[0], None, *operands[1:])
        sums = sums.reshape(-1)
    weights, wide = names(f"{node.inputs[1]}:sums"), names(f"{zero}:i32")
    raw, shift = names(f"{node.outputs[0]}:raw"), names(f"{node.name}:shift")
    others = tuple(node.inputs[3:])
    inserted = (
        replace(node, inputs=(*node.inputs[:2], *(("", *others) if others else ())), outputs=(raw,)),
        Node(names(f"{node.name}:widen"), Cast(DType.I32), (zero,), (wide,), node.origin),
        Node(names(f"{node.name}:mul"), Mul(), (wide, weights), (shift,), node.origin),
        Node(names(f"{node.name}:sub"), Sub(), (raw, shift), node.outputs, node.origin),
    )
    return Patch("run-time-zero-points", frozenset((node.name,)), inserted, {weights: np.ascontiguousarray(sums)})
