"""Whether a runtime computes in single precision: its error against a reference in double precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgesmith.ir import Graph

__all__ = ["Exact", "evaluate", "relative_error", "round_to_reduced"]

Array = np.ndarray

REDUCED_BITS = 11
"""Bits of the significand of fp16 and TF32; bf16 has 8."""

SHARE_OF_REDUCED = 0.25
SHARE_OF_ZEROS = 0.99
"""Of the relative error of a runtime that gives nothing but zeros."""


@dataclass(frozen=True)
class Exact:
    """A model's outputs in double precision.

    Args:
        outputs: by name.
        reduced: relative error when the operands of convolutions and matrix products are rounded to 11 bits, which is
            the least that fp16 or TF32 cost on this model and these inputs.
        quantized: whether the model rounds to integers itself.
    """

    outputs: Mapping[str, Array]
    reduced: float
    quantized: bool = False

    @property
    def limit(self) -> float:
        """Relative error above which a result was not computed in single precision.

        A quarter of what reduced precision costs at least, since the largest error of few outputs varies by chance:
        single precision stays far below, also where an algorithm with large transforms (Winograd) loses some bits.
        A quantised model, in which the last bit of a sum may move what follows by whole steps, only has to be computed
        at all: zeros are as far from the right results as these are large.
        """
        if self.quantized:
            return SHARE_OF_ZEROS
        return SHARE_OF_REDUCED * self.reduced


def evaluate(graph: Graph, feeds: Mapping[str, Array]) -> Exact:
    """Run the operators' references in double precision, and in single precision with rounded operands.

    Args:
        graph: as read, before passes that round constants.
    """
    exact = _run(graph, feeds, np.float64)
    reduced = _run(graph, feeds, np.float32, rounded=True)
    names = list(graph.outputs)
    quantized = any(n.op.name.startswith("QuantizeLinear") for n in graph.nodes)
    return Exact(exact, relative_error([reduced[n] for n in names], [exact[n] for n in names]), quantized)


def round_to_reduced(array: Array) -> Array:
    """Each f32 element rounded to the nearest with a significand of 11 bits; exponents keep their range."""
    dropped = 24 - REDUCED_BITS
    bits = np.ascontiguousarray(array).view(np.uint32)
    nearest = (bits + np.uint32(1 << (dropped - 1))) & np.uint32(2**32 - (1 << dropped))
    return nearest.view(np.float32)


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


def _run(graph: Graph, feeds: Mapping[str, Array], dtype: type[np.floating], rounded: bool = False) -> dict[str, Array]:
    def cast(array: Array) -> Array:
        return array.astype(dtype) if array.dtype == np.float32 else array

    values = {name: cast(np.asarray(feeds[name])) for name in graph.inputs}
    readers = {v: len({n.name for n in nodes}) for v, nodes in graph.consumers.items()}
    for node in graph.nodes:
        operands = [None if not v else values[v] if v in values else cast(graph.constants[v]) for v in node.inputs]
        if rounded and graph.cost(node).macs:
            operands = [round_to_reduced(x) if x is not None and x.dtype == np.float32 else x for x in operands]
        values.update(zip(node.outputs, node.op.reference(*operands), strict=True))
        for v in dict.fromkeys(node.read):
            readers[v] -= 1
            if not readers[v] and v not in graph.outputs:
                values.pop(v, None)
    return {v: values[v] if v in values else cast(graph.constants[v]) for v in graph.outputs}
