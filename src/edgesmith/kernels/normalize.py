"""Normalisations over groups: LayerNormalization and its kin, LpNormalization."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

import numpy as np

from edgesmith.c.expr import Expr, call, const, select, var
from edgesmith.ir import Graph, Node, View
from edgesmith.kernels.base import Code, Kernel, Problem, Reject, Schedule, kernel, operands
from edgesmith.kernels.region import Region, region
from edgesmith.kernels.walks import Walk, Walks, WalksEmitter, add
from edgesmith.ops import Array
from edgesmith.ops.lp_normalization import LpNormalization
from edgesmith.ops.normalization import Normalization
from edgesmith.ops.normalizations import MeanVarianceNormalization


@kernel
class VectorNormalize(Kernel):
    """Mean, deviation, result, each a walk with vectors."""

    name: ClassVar[str] = "normalize"

    def regions(self, graph: Graph, anchor: Node) -> Iterator[Region]:
        if isinstance(anchor.op, Normalization | LpNormalization):
            yield region(graph, (anchor,), anchor)

    def accepts(self, problem: Problem) -> Reject | None:
        node = problem.anchor
        if not isinstance(node.op, Normalization | LpNormalization) or len(problem.region.nodes) > 1:
            return Reject("computes normalisations alone")
        if node.inputs[0] not in problem.region.inputs:
            return Reject("its input is constant")
        if any(v not in problem.region.outputs for v in node.outputs):
            return Reject("an output is not used")
        reason = _walks(problem).reject(problem)
        return Reject(reason) if reason else None

    def in_place(self, problem: Problem) -> tuple[str, ...]:
        x, y = problem.anchor.inputs[0], problem.anchor.outputs[0]
        roots = [problem.places[v].root for v in problem.region.inputs]
        alone = roots.count(problem.places[x].root) == 1
        return (x,) if alone and problem.view(x).same_place(problem.view(y)) else ()

    def cost(self, problem: Problem, schedule: Schedule) -> float:
        return WalksEmitter(problem, _walks(problem)).nanoseconds

    def emit(self, problem: Problem, schedule: Schedule) -> Code:
        return WalksEmitter(problem, _walks(problem)).code(problem.anchor.op.name.lower())


def _walks(problem: Problem) -> Walks:
    op = problem.anchor.op
    assert isinstance(op, Normalization | LpNormalization)
    return _lp(problem, op) if isinstance(op, LpNormalization) else _normalization(problem, op)


def _lp(problem: Problem, op: LpNormalization) -> Walks:
    node, arrays, x = problem.anchor, operands(problem), var("x")
    total = var("total")
    norm = total if op.p == 1 else call("sqrt", total)
    divisor = select(call("eq", total, 0.0), const(1.0), norm)
    term = call("abs", x) if op.p == 1 else x * x
    return Walks(
        arrays[node.inputs[0]],
        (op.axis,),
        (Walk(0.0, add, term, divisor),),
        x / var("r0"),
        arrays[node.outputs[0]],
    )


def _normalization(problem: Problem, op: Normalization) -> Walks:
    node, arrays = problem.anchor, operands(problem)
    x = arrays[node.inputs[0]]
    group = op.grouping(x.view.shape)
    count = float(math.prod(group.shape[a] for a in group.axes))
    constants: list[tuple[str, np.ndarray]] = []
    parameters = []
    for name, value in zip(("scale", "bias"), node.inputs[1:], strict=False):
        if not value:
            continue
        array = arrays.get(value)
        if array is None:
            array = Array(f"c{len(constants)}", View.dense(problem.type(value)))
            constants.append((array.pointer, problem.graph.constants[value]))
        shaped = array if group.parameters is None else _split(array, group.parameters)
        parameters.append((name, Array(shaped.pointer, shaped.view.broadcast(group.shape))))
    element, total = var("x"), var("total")
    walks = [Walk(0.0, add, element, total / count)] if op.centred else []
    deviation = element - var("r0") if op.centred else element
    inverse = var(f"r{len(walks)}")
    walks.append(Walk(0.0, add, deviation * deviation, _inverse(op, total / count)))
    result = deviation * inverse
    for name, _ in parameters:
        result = result * var(name) if name == "scale" else result + var(name)
    kept = tuple(0 if a in group.axes else 1 for a in range(len(group.shape)))
    statistics = []
    for value, expr in zip(node.outputs[1:], (var("r0"), inverse), strict=False):
        array = arrays[value]
        strides = tuple(s * k for s, k in zip(array.view.strides, kept, strict=True))
        statistics.append((Array(array.pointer, replace(array.view, shape=group.shape, strides=strides)), expr))
    return Walks(
        _split(x, group.shape),
        group.axes,
        tuple(walks),
        result,
        _split(arrays[node.outputs[0]], group.shape),
        tuple(parameters),
        tuple(statistics),
        tuple(constants),
    )


def _inverse(op: Normalization, variance: Expr) -> Expr:
    if isinstance(op, MeanVarianceNormalization):
        return 1.0 / (call("sqrt", variance) + op.epsilon)
    return 1.0 / call("sqrt", variance + op.epsilon)


def _split(array: Array, shape: tuple[int, ...]) -> Array:
    view = array.view.reshape(shape)
    assert view is not None, "splitting an axis always has a view"
    return Array(array.pointer, view)
