"""Products of values that lie in memory as fp16 with weights that fp16 holds."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from edgesmith.kernels.base import Problem
from edgesmith.kernels.float_window import FloatWindow
from edgesmith.ops.cast import widens_half

__all__ = ["LARGEST", "HalfWindow", "half_window", "halves_reject"]

LARGEST = float(np.finfo(np.float16).max)


def halves_reject(problem: Problem) -> str | None:
    """Why a region does not begin with a Cast from fp16, of what its anchor multiplies with weights of fp16."""
    node, graph = problem.anchor, problem.graph
    cast = problem.region.nodes[0]
    if cast is node or not widens_half(graph, cast) or cast.outputs[0] != node.inputs[0]:
        return "the input is not of fp16"
    if not problem.target.has("mla_f16"):
        return "the target does not multiply fp16"
    weights = graph.constants[node.inputs[1]]
    with np.errstate(over="ignore"):
        if not np.array_equal(weights.astype(np.float16).astype(np.float32), weights):
            return "weights are not of fp16"
    bias = graph.constants[node.inputs[2]] if len(node.inputs) > 2 and node.inputs[2] else np.zeros(1, np.float32)
    return None if (np.abs(bias) <= LARGEST).all() else "fp16 does not hold the bias"


class HalfWindow(FloatWindow):
    """A product that reads fp16."""

    def refusal(self) -> str | None:
        return halves_reject(self.problem)

    @property
    def input(self) -> str:
        return self.problem.region.source


@lru_cache(maxsize=16)
def half_window(problem: Problem) -> HalfWindow:
    return HalfWindow(problem)
