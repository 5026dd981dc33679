"""Whether a value can be negative at all, as layers that read its signs need it."""

from __future__ import annotations

from collections.abc import Iterable

from edgesmith.errors import BadInput
from edgesmith.ir import Graph
from edgesmith.ops.clip import Clip
from edgesmith.ops.variadic import Max
from edgesmith.quantize.placement import Role, role

__all__ = ["check_signs", "is_never_negative"]

NEVER_NEGATIVE = frozenset({"Abs", "Exp", "HardSigmoid", "Relu", "Sigmoid", "Softmax", "Softplus", "Sqrt"})
KEEP_THE_SIGN = frozenset(
    {"Add", "AveragePool", "GlobalAveragePool", "ReduceMean", "Clip", "GlobalMaxPool", "MaxPool", "Min", "Mul"}
)
"""What they give of numbers that are never negative is not negative either."""


def check_signs(graph: Graph, inputs: Iterable[tuple[str, str]]) -> None:
    """Refuse layers for which all signs are the same.

    Args:
        inputs: path of each layer that reads signs, and its input.

    Raises:
        BadInput: there are such layers; the message names them.
    """
    blind = [path for path, value in inputs if is_never_negative(graph, value)]
    if blind:
        more = f" and {len(blind) - 3} more" if len(blind) > 3 else ""
        raise BadInput(
            f"the inputs of {', '.join(blind[:3])}{more} are never negative, so that all their signs are 1",
            where="prepare: activations = 'signs'",
            hint="train a network without ReLU before these layers (Hardtanh, say), or name them in keep or floats",
        )


def is_never_negative(graph: Graph, value: str) -> bool:
    """Whether operations alone tell that; values of inputs and weights are not known to."""
    if value in graph.constants:
        return bool((graph.constants[value] >= 0).all())
    node = graph.producer(value)
    if node is None:
        return False
    if node.op.name in NEVER_NEGATIVE:
        return True
    if isinstance(node.op, Clip) and node.op.low is not None and node.op.low >= 0:
        return True
    if isinstance(node.op, Max):
        return any(is_never_negative(graph, v) for v in node.read)
    if node.op.name in KEEP_THE_SIGN:
        return all(is_never_negative(graph, v) for v in node.read)
    if role(node.op) is Role.MOVE:
        return all(is_never_negative(graph, v) for v in node.read if graph.type(v).dtype.is_float)
    return False
