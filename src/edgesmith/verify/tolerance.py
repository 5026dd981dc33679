"""Tolerances derived from the element type and the lengths of the sums, never tuned to pass."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from edgesmith.ir import DType, Graph

__all__ = ["LAMBDA", "output_tolerances", "relative_errors"]

LAMBDA = 8.0
"""Multiple of u * sqrt(n) that the rounding error of a sum of n terms exceeds with negligible probability.

Higham and Mary, "A new approach to probabilistic rounding error analysis", SIAM J. Sci. Comput. 41(5), 2019, Theorem
3.1: the bound lambda * u * sqrt(n) holds with probability at least 1 - 2 n exp(-lambda^2 / 2); 8 covers two programs
that each round (lambda 4 each)."""


def relative_errors(graph: Graph) -> dict[str, float]:
    """For each value the expected relative size of accumulated rounding, in the norm of the whole tensor.

    Errors of successive layers add in quadrature; a layer of reduction length n adds u * sqrt(n) of its own.
    """
    squares: dict[str, float] = dict.fromkeys((*graph.inputs, *graph.constants), 0.0)
    for node in graph.nodes:
        inherited = max((squares[v] for v in node.read), default=0.0)
        dtype = graph.type(node.outputs[0]).dtype
        n = node.op.reduction_length(graph.input_types(node))
        own = (dtype.unit_roundoff**2) * n
        for v in node.outputs:
            squares[v] = inherited + own
    return {v: math.sqrt(s) for v, s in squares.items()}


def output_tolerances(graph: Graph, values: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Largest absolute difference allowed for each graph output, given reference values.

    The accumulated relative error times the largest magnitude of the output; integers must agree exactly.
    """
    relative = relative_errors(graph)
    result = {}
    for v in graph.outputs:
        if not graph.type(v).dtype.is_float:
            result[v] = 0.0
            continue
        finite = np.abs(values[v][np.isfinite(values[v])])
        scale = float(finite.max()) if finite.size else 0.0
        floor = float(np.finfo(graph.type(v).dtype.numpy).tiny) if graph.type(v).dtype is not DType.F16 else 6e-5
        result[v] = max(LAMBDA * relative[v] * scale, floor)
    return result
