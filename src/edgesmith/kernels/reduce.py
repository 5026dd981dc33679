"""Reductions of axes, global pools among them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

import numpy as np

from edgesmith.c.expr import Expr, var, vectorizable
from edgesmith.ir import DType, Graph, Node, TensorType
from edgesmith.kernels.base import Code, Kernel, Problem, Reject, Schedule, kernel, operands
from edgesmith.kernels.region import Region, region, widened
from edgesmith.kernels.walks import Walk, Walks, WalksEmitter, add, maximum
from edgesmith.ops import Array
from edgesmith.ops.average_pool import AveragePool
from edgesmith.ops.global_average_pool import GlobalAveragePool
from edgesmith.ops.lp_pool import LpPool
from edgesmith.ops.max_pool import MaxPool
from edgesmith.ops.pool import Pool
from edgesmith.ops.reduction import Pass, Reduction
from edgesmith.ops.reductions import ReduceL1, ReduceL2, ReduceMax, ReduceMean
from edgesmith.ops.variadic import largest, smallest


@kernel
class VectorReduce(Kernel):
    """Sums, extrema and products over axes: a group to each lane, or lanes along the group."""

    name: ClassVar[str] = "reduce"
    widens: ClassVar[bool] = True

    def regions(self, graph: Graph, anchor: Node) -> Iterator[Region]:
        if isinstance(anchor.op, Reduction | GlobalAveragePool | Pool):
            yield region(graph, (anchor,), anchor)
            yield from widened(graph, anchor)

    def accepts(self, problem: Problem) -> Reject | None:
        if problem.region.nodes[-1] is not problem.anchor:
            return Reject("computes single operators only")
        op = _as_reduction(problem)
        if isinstance(op, Reject):
            return op
        x = problem.region.source
        if x not in problem.region.inputs:
            return Reject("reduces run-time values only")
        if problem.type(x).dtype not in (DType.F32, DType.F16):
            return Reject("vectors compute f32")
        walks = _walks(problem, op)
        if isinstance(walks, Reject):
            return walks
        reason = walks.reject(problem) or next(filter(None, map(vectorizable, walks.expressions)), None)
        return Reject(reason) if reason else None

    def cost(self, problem: Problem, schedule: Schedule) -> float:
        return self._emitter(problem).nanoseconds

    def emit(self, problem: Problem, schedule: Schedule) -> Code:
        return self._emitter(problem).code(problem.anchor.op.name.lower())

    def _emitter(self, problem: Problem) -> WalksEmitter:
        op = _as_reduction(problem)
        assert not isinstance(op, Reject)
        walks = _walks(problem, op)
        assert not isinstance(walks, Reject)
        return WalksEmitter(problem, walks)


def _as_reduction(problem: Problem) -> Reduction | Reject:
    """The operator as a reduction that keeps its axes: global pools are reductions of the spatial axes."""
    op, x = problem.anchor.op, problem.type(problem.anchor.inputs[0])
    spatial = tuple(range(2, x.rank))
    if isinstance(op, Reduction):
        return op
    if isinstance(op, GlobalAveragePool):
        return ReduceMean(spatial)
    if not isinstance(op, Pool):
        return Reject("not a reduction")
    window = op.window
    if window.kernel != x.shape[2:] or any((*window.pads_begin, *window.pads_end)) or set(window.dilations) != {1}:
        return Reject(f"the window {window} is not the whole input")
    if isinstance(op, AveragePool):
        return ReduceMean(spatial)
    if isinstance(op, MaxPool) and not op.indices:
        return ReduceMax(spatial)
    if isinstance(op, LpPool) and op.p <= 2:
        return ReduceL1(spatial) if op.p == 1 else ReduceL2(spatial)
    return Reject(f"{op} has no vector form")


def _walks(problem: Problem, op: Reduction) -> Walks | Reject:
    node, arrays = problem.anchor, operands(problem)
    x, y = arrays[problem.region.source], arrays[node.outputs[0]]
    kept = iter(y.view.strides)
    strides = []
    for a in range(x.view.rank):
        stride = next(kept) if op.keepdims or a not in op.axes else 0
        strides.append(0 if a in op.axes else stride)
    result = Array(y.pointer, replace(y.view, shape=x.view.shape, strides=tuple(strides)))
    if isinstance(node.op, MaxPool):
        # As in the other kernels for pools: NaN is no maximum, nor is anything below the lowest finite number.
        only = Walk(float(np.finfo(np.float32).min), maximum, var("x"))
        return Walks(x, op.axes, (only,), results=((result, var("r0")),))
    walks = []
    for i, one in enumerate(op.passes(DType.F32)):
        walk = _walk(one, i)
        if walk is None:
            return Reject(f"the steps of {op.name} cannot be taken in another order")
        walks.append(walk)
    final = op.finish(*(var(f"r{i}") for i in range(len(walks))), count=op.reduction_length([_type(x)]))
    return Walks(x, op.axes, tuple(walks), results=((result, final),))


def _type(array: Array) -> TensorType:
    return array.view.type


def _walk(one: Pass, number: int) -> Walk | None:
    """A pass whose totals can be kept apart and joined: sums, products and extrema."""
    total, results = var("total"), [var(f"r{i}") for i in range(number)]
    if one.step in (largest, smallest):
        return Walk(one.start, one.step, var("x"))
    step = one.step(total, var("x"), *results)
    if step.op not in ("add", "mul") or step.args[0] is not total:
        return None
    return Walk(one.start, add if step.op == "add" else _multiply, step.args[1])


def _multiply(a: Expr, b: Expr) -> Expr:
    return a * b
