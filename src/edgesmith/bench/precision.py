"""Whether a runtime computes in single precision: its error against a reference in double precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgesmith.ir import Graph

__all__ = ["Exact", "evaluate", "relative_error"]

Array = np.ndarray

SINGLE_BITS = 24
REDUCED_BITS = 11
"""Bits of the significand of fp16 and TF32; bf16 has 8."""


@dataclass(frozen=True)
class Exact:
    """A model's outputs in double precision.

    Args:
        outputs: by name.
        single: relative error of the same operators one by one in single precision.
    """

    outputs: Mapping[str, Array]
    single: float

    @property
    def limit(self) -> float:
        """Relative error above which a result was not computed in single precision.

        To first order, errors are proportional to the unit roundoff. The limit lies halfway, in bits, between what
        single precision gives on this model (23 bits and the hidden one) and what fp16 or TF32 would give (11 bits):
        far above what another order of summation or Winograd's transforms cost, far below reduced precision.
        """
        return float(max(self.single, 2.0**-SINGLE_BITS) * 2.0 ** ((SINGLE_BITS - REDUCED_BITS) / 2))


def evaluate(graph: Graph, feeds: Mapping[str, Array]) -> Exact:
    """Run the operators' references in both precisions.

    Args:
        graph: as read, before passes that round constants.
    """
    exact = _run(graph, feeds, np.float64)
    single = _run(graph, feeds, np.float32)
    names = list(graph.outputs)
    return Exact(exact, relative_error([single[n] for n in names], [exact[n] for n in names]))


def relative_error(results: Sequence[Array], exact: Sequence[Array]) -> float:
    """Largest difference of any output over that output's largest magnitude; infinite where they cannot be compared."""
    worst = 0.0
    for mine, right in zip(results, exact, strict=True):
        if mine.size != right.size:
            return float("inf")
        if right.size:
            gap = np.abs(mine.reshape(right.shape).astype(np.float64) - right.astype(np.float64))
            scale = float(np.abs(right.astype(np.float64)).max())
            error = float(gap.max()) / scale if scale else float(gap.max())
            worst = max(worst, error) if np.isfinite(error) else float("inf")
    return worst


def _run(graph: Graph, feeds: Mapping[str, Array], dtype: type[np.floating]) -> dict[str, Array]:
    def cast(array: Array) -> Array:
        return array.astype(dtype) if array.dtype == np.float32 else array

    values = {name: cast(np.asarray(feeds[name])) for name in graph.inputs}
    readers = {v: len({n.name for n in nodes}) for v, nodes in graph.consumers.items()}
    for node in graph.nodes:
        operands = [None if not v else values[v] if v in values else cast(graph.constants[v]) for v in node.inputs]
        values.update(zip(node.outputs, node.op.reference(*operands), strict=True))
        for v in dict.fromkeys(node.read):
            readers[v] -= 1
            if not readers[v] and v not in graph.outputs:
                values.pop(v, None)
    return {v: values[v] if v in values else cast(graph.constants[v]) for v in graph.outputs}
