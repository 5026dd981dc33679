"""How far two correct programs may differ in one operator: derived from element types and lengths of sums, never tuned.

Sums of n products (convolution, matrix product, averages). Each program's error is at most ``gamma(n) * sum |a||b|``.
The worst case is n unit roundoffs (Higham, "Accuracy and Stability of Numerical Algorithms", 2nd ed., section 3.1);
rounding errors that behave like independent random variables stay below ``4 u sqrt(n)`` but with probability
2 n exp(-8) per sum, whatever the order of summation (Higham and Mary, "A new approach to probabilistic rounding error
analysis", SIAM J. Sci. Comput. 41(5), 2019, theorem 3.1). The smaller of the two is taken, and ``sum |a||b|`` is
computed by the same operator from the absolute values of the operands, so that every element has a bound of its own.

A kernel that reaches the sum by other ways (Winograd, FFT, Strassen) states the bound of its own algorithm
(``Kernel.rounding``), which then stands for our program, while the direct sum's stands for ONNX Runtime.

Elementwise operators: running error analysis of their expression (``verify.expressions``).

Sums of products of integers: exact in our program. The quantised model computes them in f32 from dequantised operands,
with the roundings of a sum of n products of rounded factors (``float_sum_deviation``).

Movement and selection (MaxPool, Gather, TopK, ArgMax, ...): exact; on equal inputs also indices are.

Everything else (softmax, normalisations, ...): the error of a backward stable algorithm, that is ``gamma(n)`` of the
result plus what a relative change of the operands by ``gamma(n)`` does to it (Higham, section 1.5), found by trying.

Both programs round, so every bound counts twice.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass, replace
from typing import Any

import numpy as np

from edgesmith.ir import DType, Node, TensorType
from edgesmith.kernels import Kernel, Schedule
from edgesmith.kernels.rounding import CONFIDENCE, gamma
from edgesmith.ops import Elementwise, Movement, Operator
from edgesmith.ops.block_scales import BlockMatMul
from edgesmith.ops.integer_products import IntegerProduct
from edgesmith.verify.evaluate import Evaluator
from edgesmith.verify.expressions import Bounded, expression_bound

__all__ = [
    "PROGRAMS",
    "Computed",
    "float_sum_deviation",
    "region_bounds",
    "rounding_bounds",
    "rounding_deviations",
    "smallest",
]

PROGRAMS = 2
"""Ours and ONNX Runtime."""

SUMS = frozenset(
    (
        *("Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum", "AveragePool", "GlobalAveragePool", "CumSum"),
        *("ReduceSum", "ReduceMean", "ReduceL1"),
    )
)
"""Linear in each operand, so that the operator on absolute values bounds its own rounding and what operands bring."""

SELECTIONS = frozenset(
    (
        *("MaxPool", "GlobalMaxPool", "MaxUnpool", "ReduceMax", "ReduceMin", "ArgMax", "ArgMin", "TopK"),
        *("Where", "OneHot", "Gather", "GatherElements", "GatherND", "NonZero", "ConstantOfShape"),
    )
)

AVERAGES = frozenset(("AveragePool", "GlobalAveragePool", "ReduceMean"))
"""Sums whose factor 1 / n is no operand."""

TRIALS = 3
Bound = np.ndarray | float

Computed = Mapping[str, tuple[Kernel, Schedule]]
"""Kernel and schedule that our program computes a node with, by the node's name; other nodes are summed directly."""

_DIRECTLY: Computed = {}


def smallest(dtype: DType) -> float:
    """Differences up to the smallest normal number never matter: programs may flush subnormal numbers to 0."""
    return float(np.finfo(dtype.numpy).tiny) if dtype.is_float else 0.0  # type: ignore[type-var]


def rounding_bounds(
    evaluator: Evaluator, node: Node, operands: Sequence[np.ndarray | None], results: Sequence[np.ndarray]
) -> list[Bound]:
    """For each output of a node the largest difference between two programs that compute it from the same operands."""
    return _bounds(evaluator, node, operands, results, [0.0] * len(operands), _DIRECTLY)


def rounding_deviations(
    evaluator: Evaluator,
    node: Node,
    operands: Sequence[np.ndarray | None],
    results: Sequence[np.ndarray],
    computed: Computed = _DIRECTLY,
) -> list[Bound]:
    """For each output of a node the standard deviation of the difference between two programs.

    A bound assumes that partial sums are as large as ``sum |a||b|``, which is far from typical. If the order of the n
    terms t has nothing to do with their sizes, a partial sum has the mean square of at most (sum t)^2 + sum t^2, and
    n roundings with the variance u^2 / 3 of it add up. What a kernel states is a bound of ``CONFIDENCE`` standard
    deviations, or wider.
    """
    op = node.op
    if isinstance(op, BlockMatMul):
        x, weights = operands[0], op.weights(operands).astype(np.float64)
        assert x is not None
        partial = np.square(results[0].astype(np.float64)) + np.square(x.astype(np.float64)) @ np.square(weights)
        variance = np.square(DType.F32.unit_roundoff) * (_length(node, operands) + 1) / 3 * partial
        return [np.sqrt(PROGRAMS * variance)]
    if op.name not in SUMS or results[0].dtype.kind != "f":
        bounds = rounding_bounds(evaluator, node, operands, results)
        return [b if _is_zero(b) else b / (PROGRAMS * CONFIDENCE) for b in bounds]
    n = _length(node, operands) + 1
    (squares,) = evaluator.run(_with_factors(node, np.square), [None if a is None else np.square(a) for a in operands])
    squares = squares.astype(np.float64) / (n if op.name in AVERAGES else 1)
    partial = np.square(results[0].astype(np.float64)) + squares
    variance = np.square(DType.of(results[0].dtype).unit_roundoff) * n / 3 * partial
    own = _own_rounding(computed, node, operands)
    return [np.sqrt(PROGRAMS * variance if own is None else (PROGRAMS - 1) * variance + np.square(own / CONFIDENCE))]


def float_sum_deviation(node: Node, operands: Sequence[np.ndarray | None], sums: np.ndarray) -> np.ndarray:
    """Standard deviation of an integer product's sums in a program that computes them in f32, in units of the integers.

    The argument is that of ``rounding_deviations``; each term has three roundings more, of its factors' dequantisation
    and of their product.
    """
    op = node.op
    assert isinstance(op, IntegerProduct)
    partial = np.square(sums.astype(np.float64)) + op.squares(*operands)
    return np.asarray(DType.F32.unit_roundoff * np.sqrt((_length(node, operands) + 3) / 3 * partial))


def region_bounds(
    evaluator: Evaluator, nodes: Sequence[Node], values: Mapping[str, np.ndarray], computed: Computed = _DIRECTLY
) -> dict[str, np.ndarray | float]:
    """The same for every value that a chain of nodes computes: roundings of earlier nodes travel through later ones.

    Args:
        nodes: in topological order.
        values: reference values of everything that the nodes read and write.
        computed: how our program computes the nodes.
    """
    bounds: dict[str, Bound] = {}
    for node in nodes:
        operands = [values[v] if v else None for v in node.inputs]
        errors = [bounds.get(v, 0.0) for v in node.inputs]
        results = [values[v] for v in node.outputs]
        bounds.update(zip(node.outputs, _bounds(evaluator, node, operands, results, errors, computed), strict=True))
    return bounds


def _bounds(
    evaluator: Evaluator,
    node: Node,
    operands: Sequence[np.ndarray | None],
    results: Sequence[np.ndarray],
    errors: Sequence[Bound],
    computed: Computed,
) -> list[Bound]:
    op = node.op
    if isinstance(op, BlockMatMul):
        return [_block_bound(op, operands, errors[0])]
    exact = all(_is_zero(e) for e in errors)
    if isinstance(op, Elementwise):
        given = [(a, e) for a, e in zip(operands, errors, strict=True) if a is not None]
        leaves = {f"x{i}": Bounded(_wide(a), e) for i, (a, e) in enumerate(given)}
        expr = op.composed([TensorType.of(a) if a is not None else None for a in operands])
        return [expression_bound(expr, leaves, PROGRAMS)]
    if isinstance(op, Movement) or op.name in SELECTIONS:
        return [0.0] * len(results) if exact else _moved(node, operands, results, errors)
    if not any(r.dtype.kind == "f" for r in results):
        return [0.0] * len(results)
    if op.name in SUMS:
        return [_sum_bound(evaluator, node, operands, errors, _own_rounding(computed, node, operands))]
    return _stable_bounds(evaluator, node, operands, results, errors)


def _own_rounding(computed: Computed, node: Node, operands: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """The bound that the kernel of our program states for the node; None where it sums directly."""
    if node.name not in computed:
        return None
    kernel, schedule = computed[node.name]
    return kernel.rounding(node, operands, schedule)


def _sum_bound(
    evaluator: Evaluator,
    node: Node,
    operands: Sequence[np.ndarray | None],
    errors: Sequence[Bound],
    own: np.ndarray | None,
) -> np.ndarray:
    sizes = [None if a is None else np.abs(a) for a in operands]
    positive = _with_factors(node, abs)
    n = _length(node, operands) + (len([a for a in operands if a is not None]) > 2)
    (magnitude,) = evaluator.run(positive, sizes)
    direct = gamma(n, DType.of(magnitude.dtype)) * magnitude.astype(np.float64)
    total = PROGRAMS * direct if own is None else (PROGRAMS - 1) * direct + own
    for i, error in enumerate(errors):
        size = sizes[i]
        if size is None or _is_zero(error):
            continue
        # An added operand (the bias) must not count again for each of the others.
        others = [None if s is None else s if j < 2 else np.zeros_like(s) for j, s in enumerate(sizes)]
        if i >= 2:
            others = [np.zeros_like(s) if s is not None else None for s in sizes]
        others[i] = np.broadcast_to(error, size.shape).astype(size.dtype)
        total = total + evaluator.run(positive, others)[0]
    return total


def _block_bound(op: BlockMatMul, operands: Sequence[np.ndarray | None], error: Bound) -> np.ndarray:
    """Of a product with weights in blocks, as of one with the weights that they stand for.

    Args:
        error: of x.
    """
    x, weights = operands[0], np.abs(op.weights(operands).astype(np.float64))
    assert x is not None
    n = op.reduction_length([None if a is None else TensorType.of(a) for a in operands])
    direct = gamma(n, DType.F32) * (np.abs(x.astype(np.float64)) @ weights)
    return np.asarray(PROGRAMS * direct + np.broadcast_to(error, x.shape) @ weights)


def _with_factors(node: Node, change: Callable[[float], float]) -> Node:
    """Gemm's scalar factors belong to the products as well."""
    factors = {k: v for k, v in node.op.attributes().items() if k in ("alpha", "beta") and isinstance(v, float)}
    if not factors:
        return node
    return replace(node, op=replace(_dataclass(node.op), **{k: float(change(v)) for k, v in factors.items()}))


def _dataclass(op: Any) -> Any:
    assert is_dataclass(op)
    return op


def _moved(
    node: Node, operands: Sequence[np.ndarray | None], results: Sequence[np.ndarray], errors: Sequence[Bound]
) -> list[Bound]:
    """Errors go where the elements go; where that depends on the elements, any may go anywhere."""
    if isinstance(node.op, Movement) and isinstance(node.op, Operator):
        spread = [
            None if a is None else np.broadcast_to(e, a.shape).astype(a.dtype)
            for a, e in zip(operands, errors, strict=True)
        ]
        return [np.abs(np.nan_to_num(m.astype(np.float64))) for m in node.op.reference(*spread)]
    worst = max(float(np.max(e, initial=0.0)) for e in errors)
    return [worst if r.dtype.kind == "f" else np.inf for r in results]


def _stable_bounds(
    evaluator: Evaluator,
    node: Node,
    operands: Sequence[np.ndarray | None],
    results: Sequence[np.ndarray],
    errors: Sequence[Bound],
) -> list[Bound]:
    dtype = next(DType.of(a.dtype) for a in (*operands, *results) if a is not None and a.dtype.kind == "f")
    relative = PROGRAMS * gamma(_length(node, operands) + 1, dtype)
    # The step of the difference quotient: small against the operands, large against their roundoff.
    h = float(np.sqrt(dtype.unit_roundoff))
    rng = np.random.default_rng(zlib.crc32(node.name.encode()))
    worst = np.zeros(len(results))
    for _ in range(TRIALS):
        moved = [_nudged(rng, a, e, relative, h) for a, e in zip(operands, errors, strict=True)]
        with np.errstate(all="ignore"):
            for i, (new, old) in enumerate(zip(evaluator.run(node, moved), results, strict=True)):
                if old.dtype.kind == "f":
                    change = np.abs(new.astype(np.float64) - old) * (relative / h)
                    worst[i] = max(worst[i], float(np.max(change[np.isfinite(change)], initial=0.0)))
    return [
        CONFIDENCE * w + relative * np.abs(r.astype(np.float64)) if r.dtype.kind == "f" else 0.0
        for w, r in zip(worst, results, strict=True)
    ]


def _nudged(
    rng: np.random.Generator, array: np.ndarray | None, error: Bound, relative: float, h: float
) -> np.ndarray | None:
    """The operand moved at random by ``h / relative`` times what rounding and earlier errors may do to it."""
    if array is None or array.dtype.kind != "f":
        return array
    size = np.abs(array) * h + error * (h / relative)
    return np.asarray(array + size * rng.standard_normal(array.shape), array.dtype)


def _length(node: Node, operands: Sequence[np.ndarray | None]) -> int:
    return node.op.reduction_length([None if a is None else TensorType.of(a) for a in operands])


def _wide(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float64) if array.dtype.kind == "f" else array


def _is_zero(error: Bound) -> bool:
    return isinstance(error, float) and error == 0.0
