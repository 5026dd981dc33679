"""How far rounding may move the result of one level of Strassen's algorithm in Winograd's form.

First-order error analysis (after N. J. Higham, "Accuracy and Stability of Numerical Algorithms", 2nd ed., section 23.2)
of the sums S and T and the products S T that ``strassen`` names:

- every result is the sum of up to four products, so of as many times K / 2 terms, and errs like a direct sum of so many
  terms of the size |S| |T| (``gamma``);
- each addition in S and T errs by at most u times its result, which travels with |T| and |S| into every product.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from edgesmith.ir import DType, Node
from edgesmith.kernels.gemm.row_tiles import RowTiles
from edgesmith.kernels.rounding import gamma
from edgesmith.ops.conv import Conv
from edgesmith.ops.gemm import Gemm

__all__ = ["rounding_bound"]

RESULTS = (
    (("11", "11"), ("12", "21")),
    (("11", "11"), ("2", "2"), ("1", "1"), ("4", "22")),
    (("11", "11"), ("2", "2"), ("3", "3"), ("22", "4")),
    (("11", "11"), ("2", "2"), ("3", "3"), ("1", "1")),
)
"""The (S, T) of the products in Y11, Y12, Y21 and Y22: a sum by its number, a quarter of X or W by its place."""

Sum = tuple[np.ndarray, np.ndarray]
"""Values, and the error of computing them in units of the roundoff."""


def rounding_bound(node: Node, operands: Sequence[np.ndarray | None], blocks: int) -> np.ndarray:
    """The bound for every element of the node's result.

    Args:
        node: a Conv with a 1x1 kernel, Gemm or MatMul.
        operands: its inputs.
        blocks: of rows, each of which has halves.
    """
    x, weights, bias, back = _matrices(node, operands)
    cuts = RowTiles.of(len(x), -(-len(x) // blocks))
    starts = [i * cuts.height - max(0, i - cuts.tall) for i in range(cuts.count + 1)]
    half, (steps, channels) = -(-cuts.height // 2), (n // 2 for n in weights.shape)
    rows = [np.add.outer(s, np.arange(half)).reshape(-1) for s in (np.array(starts[:-1]), np.array(starts[1:]) - half)]
    left = _left({f"{i + 1}{k + 1}": x[rows[i], k * steps :][:, :steps] for i in (0, 1) for k in (0, 1)})
    right = _right(
        {f"{k + 1}{j + 1}": weights[k * steps :, j * channels :][:steps, :channels] for k in (0, 1) for j in (0, 1)}
    )
    bound = np.zeros((len(x), weights.shape[1]))
    for (i, j), products in zip(((0, 0), (0, 1), (1, 0), (1, 1)), RESULTS, strict=True):
        quarter = bound[:, j * channels : (j + 1) * channels]
        # A row in both halves of its block keeps the result of one of them.
        quarter[rows[i]] = np.maximum(quarter[rows[i]], _error(products, left, right, steps))
    return back(bound + DType.F32.unit_roundoff * (np.abs(x @ weights + bias) + np.abs(bias)))


def _matrices(
    node: Node, operands: Sequence[np.ndarray | None]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """X (rows, steps), W (steps, channels), the bias, and what gives a matrix the shape of the result."""
    op = node.op
    x, weights, bias = (None if a is None else a.astype(np.float64) for a in (*operands, None)[:3])
    assert x is not None and weights is not None
    if bias is None:
        bias = np.zeros(1)
    if isinstance(op, Conv):
        every = [slice(None, None, stride) for stride in (1, 1, *op.window.strides)]
        taken = np.moveaxis(x[tuple(every)], 1, -1)
        shape: tuple[int, ...] = (*taken.shape[:-1], len(weights))
        matrix = weights.reshape(weights.shape[:2]).T
        return taken.reshape(-1, len(matrix)), matrix, bias, lambda m: np.moveaxis(m.reshape(shape), -1, 1)
    if isinstance(op, Gemm):
        matrix = op.alpha * (weights.T if op.transB else weights)
        return x.T if op.transA else x, matrix, op.beta * bias.reshape(-1), lambda m: m
    shape = (*x.shape[:-1], weights.shape[1])
    return x.reshape(-1, len(weights)), weights, bias, lambda m: m.reshape(shape)


def _error(
    products: Sequence[tuple[str, str]], left: Mapping[str, Sum], right: Mapping[str, Sum], steps: int
) -> np.ndarray:
    """The bound for a sum of products."""
    terms, sums = [], []
    for a, b in products:
        (s, s_error), (t, t_error) = left[a], right[b]
        terms.append(np.abs(s) @ np.abs(t))
        sums.append(s_error @ np.abs(t) + np.abs(s) @ t_error)
    length = len(products) * (steps + 1)
    return np.asarray(gamma(length, DType.F32) * sum(terms) + DType.F32.unit_roundoff * sum(sums))


def _left(x: Mapping[str, np.ndarray]) -> dict[str, Sum]:
    sums = {place: (values, np.zeros_like(values)) for place, values in x.items()}
    one = _plus(sums["21"], sums["22"])
    two = _plus(one, sums["11"], -1)
    return sums | {"1": one, "2": two, "3": _plus(sums["11"], sums["21"], -1), "4": _plus(sums["12"], two, -1)}


def _right(w: Mapping[str, np.ndarray]) -> dict[str, Sum]:
    sums = {place: (values, np.zeros_like(values)) for place, values in w.items()}
    one = _plus(sums["12"], sums["11"], -1)
    two = _plus(sums["22"], one, -1)
    return sums | {"1": one, "2": two, "3": _plus(sums["22"], sums["12"], -1), "4": _plus(sums["21"], two, -1)}


def _plus(a: Sum, b: Sum, sign: int = 1) -> Sum:
    value = a[0] + sign * b[0]
    return value, a[1] + b[1] + np.abs(value)
