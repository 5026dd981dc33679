"""The few numbers that a value may hold, where what computes it tells."""

from __future__ import annotations

import itertools
import math

import numpy as np

from edgesmith.ir import DType, Graph, Node
from edgesmith.ops import Elementwise
from edgesmith.ops.comparison import Comparison
from edgesmith.ops.sign import Sign
from edgesmith.ops.where import Where
from edgesmith.passes.quantized_values import filled, is_movement

__all__ = ["PossibleValues"]

_MOST = 16
"""More numbers than this are not followed."""
_DEPTH = 24
"""Operators between a value and what decides its numbers, at most."""


class PossibleValues:
    """Which numbers the values of a graph may hold, NaN aside; each value is looked at once."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._known: dict[str, frozenset[float] | None] = {}

    def __call__(self, value: str, depth: int = _DEPTH) -> frozenset[float] | None:
        """The numbers that ``value`` may hold, and perhaps some more; None: too many, or unknown."""
        if value not in self._known:
            self._known[value] = self._found(value, depth)
        return self._known[value]

    def _found(self, value: str, depth: int) -> frozenset[float] | None:
        constant = self._graph.constants.get(value)
        if constant is not None:
            return _few(np.unique(constant)) if constant.dtype.kind in "fiub" else None
        node = self._graph.producer(value)
        if node is None or len(node.outputs) > 1 or depth == 0:
            return None
        if isinstance(node.op, Comparison):
            return frozenset((0.0, 1.0))
        if isinstance(node.op, Where):
            return self._union(node.inputs[1:], depth)
        if is_movement(node):
            fill = filled(node)
            moved = self._union((node.inputs[0],) if node.op.name != "Concat" else node.inputs, depth)
            return moved if moved is None or fill is None else moved | {fill}
        if isinstance(node.op, Sign):
            return self._computed(node, depth) or frozenset((-1.0, 0.0, 1.0))
        return self._computed(node, depth) if isinstance(node.op, Elementwise) else None

    def _union(self, values: tuple[str, ...], depth: int) -> frozenset[float] | None:
        found: frozenset[float] = frozenset()
        for value in values:
            more = self(value, depth - 1)
            if more is None or len(found | more) > _MOST:
                return None
            found |= more
        return found

    def _computed(self, node: Node, depth: int) -> frozenset[float] | None:
        """What an elementwise operator makes of every combination of its operands' numbers."""
        operands: list[frozenset[float]] = []
        for value in node.read:
            found = self(value, depth - 1)
            if found is None:
                return None
            operands.append(found)
        if math.prod(map(len, operands)) > _MOST**2 or len(node.read) < len(node.inputs):
            return None
        columns = zip(*itertools.product(*(sorted(o) for o in operands)), strict=True)
        types = [self._graph.type(v).dtype for v in node.inputs]
        if DType.F16 in types:
            return None
        arrays = [np.array(c, t.numpy) for c, t in zip(columns, types, strict=True)]
        with np.errstate(all="ignore"):
            (result,) = node.op.reference(*arrays)
        return _few(np.unique(result))


def _few(numbers: np.ndarray) -> frozenset[float] | None:
    if numbers.size > _MOST or not np.isfinite(numbers.astype(np.float64)).all():
        return None
    return frozenset(float(n) for n in numbers)
