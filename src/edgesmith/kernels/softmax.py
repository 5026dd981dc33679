"""Softmax and LogSoftmax."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar

from edgesmith.c.expr import call, var
from edgesmith.ir import Graph, Node
from edgesmith.kernels.base import Code, Kernel, Problem, Reject, Schedule, kernel, operands
from edgesmith.kernels.region import Region, region
from edgesmith.kernels.walks import Walk, Walks, WalksEmitter, add, maximum
from edgesmith.ops.softmax import LogSoftmax, Softmax


@kernel
class VectorSoftmax(Kernel):
    """Three walks: maximum, sum of exponentials, result; along the axis, or across when other elements lie closer."""

    name: ClassVar[str] = "softmax"

    def regions(self, graph: Graph, anchor: Node) -> Iterator[Region]:
        if isinstance(anchor.op, Softmax | LogSoftmax):
            yield region(graph, (anchor,), anchor)

    def accepts(self, problem: Problem) -> Reject | None:
        if not isinstance(problem.anchor.op, Softmax | LogSoftmax) or len(problem.region.nodes) > 1:
            return Reject("computes Softmax and LogSoftmax alone")
        if not problem.region.inputs:
            return Reject("its input is constant")
        reason = _walks(problem).reject(problem)
        return Reject(reason) if reason else None

    def in_place(self, problem: Problem) -> tuple[str, ...]:
        x = problem.region.inputs[0]
        return (x,) if problem.view(x).same_place(problem.view(problem.region.outputs[0])) else ()

    def cost(self, problem: Problem, schedule: Schedule) -> float:
        return WalksEmitter(problem, _walks(problem)).nanoseconds

    def emit(self, problem: Problem, schedule: Schedule) -> Code:
        return WalksEmitter(problem, _walks(problem)).code(problem.anchor.op.name.lower())


def _walks(problem: Problem) -> Walks:
    node, arrays = problem.anchor, operands(problem)
    assert isinstance(node.op, Softmax | LogSoftmax)
    x, top, total = var("x"), var("r0"), var("total")
    e = call("exp", x - top)
    logarithm = isinstance(node.op, LogSoftmax)
    walks = (
        Walk(-math.inf, maximum, x),
        Walk(0.0, add, e, call("log", total) if logarithm else 1.0 / total, stored=not logarithm),
    )
    result = x - top - var("r1") if logarithm else var("y") * var("r1")
    return Walks(arrays[node.inputs[0]], (node.op.axis,), walks, result, arrays[node.outputs[0]])
