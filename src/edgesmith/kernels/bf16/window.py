"""Products of f32 values that bf16 holds exactly."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from edgesmith.ir import DType, Graph
from edgesmith.kernels.base import Problem
from edgesmith.kernels.float_window import FloatWindow
from edgesmith.ops.cast import Cast
from edgesmith.ops.movement import Movement

__all__ = ["BF16Window", "bf16_window", "is_rounded"]

LOW_BITS = 0xFFFF
"""Of an f32: what bf16 lacks."""


class BF16Window(FloatWindow):
    """A product whose weights are bf16 numbers and whose input comes from bf16; both are stored as f32."""

    def refusal(self) -> str | None:
        problem, node = self.problem, self.problem.anchor
        if problem.type(node.inputs[0]).dtype is not DType.F32:
            return f"{problem.type(node.inputs[0]).dtype}, reads f32"
        if (problem.graph.constants[node.inputs[1]].view(np.uint32) & LOW_BITS).any():
            return "weights are not bf16"
        return None if is_rounded(problem.graph, node.inputs[0]) else "the input is not rounded to bf16"

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
