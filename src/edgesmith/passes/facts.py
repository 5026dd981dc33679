"""What passes ask about a graph."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edgesmith.ir import Graph, Node
from edgesmith.ops.clip import Clip

__all__ = ["ConstantInput", "constant_input", "is_close", "is_nonnegative", "scalar"]

_NONNEGATIVE = frozenset(("Relu", "Sigmoid", "HardSigmoid", "Abs", "Exp", "Softmax", "Softplus", "Sqrt"))
_KEEPS_SIGN = frozenset(
    ("MaxPool", "AveragePool", "GlobalAveragePool", "Reshape", "Transpose", "Slice", "Split", "Identity", "Concat")
)
_DEPTH = 8


@dataclass(frozen=True)
class ConstantInput:
    """The constant operand of a binary operator.

    Args:
        index: its position, 0 or 1.
        other: the value computed at run time.
    """

    index: int
    array: np.ndarray
    other: str


def constant_input(graph: Graph, node: Node) -> ConstantInput | None:
    """The constant operand of an operator of two inputs, one of which is computed at run time."""
    if len(node.inputs) != 2 or len(node.read) != 2:
        return None
    left, right = (graph.constants.get(v) for v in node.inputs)
    if right is not None and left is None:
        return ConstantInput(1, right, node.inputs[0])
    if left is not None and right is None:
        return ConstantInput(0, left, node.inputs[1])
    return None


def scalar(graph: Graph, value: str) -> float | None:
    """The number in a constant of one element."""
    array = graph.constants.get(value)
    return float(array.item()) if array is not None and array.size == 1 and array.dtype.kind == "f" else None


def is_close(a: float, b: float) -> bool:
    """True when two numbers agree up to a few roundings to f32."""
    return math.isclose(a, b, rel_tol=5e-7)


def is_nonnegative(graph: Graph, value: str) -> bool:
    """True when no element can be below 0, judged by what computes it (NaN aside)."""
    pending = [(value, _DEPTH)]
    while pending:
        current, depth = pending.pop()
        node = graph.producer(current)
        if node is None:
            array = graph.constants.get(current)
            if array is None or bool((array < 0).any()):
                return False
        elif node.op.name in _NONNEGATIVE or (isinstance(node.op, Clip) and _clips_below_zero(node.op)):
            continue
        elif node.op.name in _KEEPS_SIGN and depth:
            pending += [(v, depth - 1) for v in node.read]
        else:
            return False
    return True


def _clips_below_zero(op: Clip) -> bool:
    return op.low is not None and op.low >= 0 and (op.high is None or op.high >= 0)
