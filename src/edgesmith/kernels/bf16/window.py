"""Products of f32 values that bf16 holds exactly."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from edgesmith.ir import DType, Graph
from edgesmith.kernels.base import Problem
from edgesmith.kernels.line_window import LineWindow
from edgesmith.ops.cast import Cast
from edgesmith.ops.conv import Conv
from edgesmith.ops.gemm import Gemm
from edgesmith.ops.matmul import MatMul
from edgesmith.ops.movement import Movement

__all__ = ["BF16Window", "bf16_window", "is_rounded"]

LOW_BITS = 0xFFFF
"""Of an f32: what bf16 lacks."""


class BF16Window(LineWindow):
    """A product whose weights are bf16 numbers and whose input comes from bf16; both are stored as f32."""

    bias: np.ndarray | None
    """(channels), or one number for all."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        node, graph = problem.anchor, problem.graph
        op = node.op
        if problem.target.isa is None:
            self.reject = "needs vectors, the target is portable C"
        elif not isinstance(op, Conv | Gemm | MatMul):
            self.reject = f"{op.name} has no products of bf16"
        elif any(v not in graph.constants for v in node.read[1:]) or node.inputs[0] in graph.constants:
            self.reject = "weights are computed at run time"
        elif problem.type(node.inputs[0]).dtype is not DType.F32:
            self.reject = f"{problem.type(node.inputs[0]).dtype}, reads f32"
        elif (graph.constants[node.inputs[1]].view(np.uint32) & LOW_BITS).any():
            self.reject = "weights are not bf16"
        elif not is_rounded(graph, node.inputs[0]):
            self.reject = "the input is not rounded to bf16"
        elif len(problem.region.outputs) != 1:
            self.reject = "an intermediate value is needed elsewhere"
        else:
            self.sums = node.outputs[0]
            self.bias = graph.constants[node.inputs[2]] if len(node.inputs) > 2 and node.inputs[2] else None
            if isinstance(op, Conv):
                self.convolution(op.window, op.group)
            elif isinstance(op, MatMul):
                self.product(node)
            else:
                self._gemm(op)

    def _gemm(self, op: Gemm) -> None:
        if op.transA or (op.alpha, op.beta) != (1, 1):
            self.reject = f"{op}: needs alpha and beta of 1 and no transposed A"
        elif self.bias is not None and self.bias.size > 1 and self.bias.shape[-1:] != (self.bias.size,):
            self.reject = f"C of shape {self.bias.shape} differs from row to row"
        else:
            self.product(self.problem.anchor, 0 if op.transB else 1)

    def constant_weights(self, axis: int) -> np.ndarray:
        return self.problem.graph.constants[self.problem.anchor.inputs[1]]

    def number(self, element: str) -> str:
        return f"es_narrow_bf16({element})"


def is_rounded(graph: Graph, value: str) -> bool:
    """Whether the elements of an f32 value are known to be bf16 numbers."""
    producer = graph.producer(value)
    if producer is None:
        return False
    if isinstance(producer.op, Cast):
        return graph.type(producer.inputs[0]).dtype is DType.BF16
    return isinstance(producer.op, Movement) and is_rounded(graph, producer.inputs[0])


@lru_cache(maxsize=16)
def bf16_window(problem: Problem) -> BF16Window:
    return BF16Window(problem)
