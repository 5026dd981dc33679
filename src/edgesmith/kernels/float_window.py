"""Products of floats over packed input lines, with constant weights."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from edgesmith.kernels.base import Problem
from edgesmith.kernels.line_window import LineWindow
from edgesmith.ops.conv import Conv
from edgesmith.ops.gemm import Gemm
from edgesmith.ops.matmul import MatMul

__all__ = ["FloatWindow"]


class FloatWindow(LineWindow):
    """Conv, Gemm and MatMul of f32 whose operands kernels may multiply in a narrower type."""

    bias: np.ndarray | None
    """(channels), or one number for all."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        node, graph = problem.anchor, problem.graph
        op = node.op
        if problem.target.isa is None:
            self.reject = "needs vectors, the target is portable C"
        elif not isinstance(op, Conv | Gemm | MatMul):
            self.reject = f"{op.name} is no product with weights"
        elif any(v not in graph.constants for v in node.read[1:]) or node.inputs[0] in graph.constants:
            self.reject = "weights are computed at run time"
        else:
            self.reject = self.refusal()
        if self.reject is None and len(problem.region.outputs) != 1:
            self.reject = "an intermediate value is needed elsewhere"
        if self.reject is not None:
            return
        self.sums = node.outputs[0]
        self.bias = graph.constants[node.inputs[2]] if len(node.inputs) > 2 and node.inputs[2] else None
        if isinstance(op, Conv):
            self.convolution(op.window, op.group)
        elif isinstance(op, MatMul):
            self.product(node)
        elif isinstance(op, Gemm):
            self._gemm(op)

    @abstractmethod
    def refusal(self) -> str | None:
        """Why the operands, the weights constant, do not have the narrower type."""

    def _gemm(self, op: Gemm) -> None:
        if op.transA or (op.alpha, op.beta) != (1, 1):
            self.reject = f"{op}: needs alpha and beta of 1 and no transposed A"
        elif self.bias is not None and self.bias.size > 1 and self.bias.shape[-1:] != (self.bias.size,):
            self.reject = f"C of shape {self.bias.shape} differs from row to row"
        else:
            self.product(self.problem.anchor, 0 if op.transB else 1)

    def constant_weights(self, axis: int) -> np.ndarray:
        return self.problem.graph.constants[self.problem.anchor.inputs[1]]
