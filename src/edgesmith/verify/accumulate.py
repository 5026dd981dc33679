"""What rounding amounts to at the end of a whole network: Monte Carlo propagation of the operators' own bounds.

A bound that adds up worst cases through a deep network says nothing, and a fixed factor per layer misses what networks
do to errors: a softmax turns absolute errors into relative ones, a normalisation divides by a small deviation, a
difference of near equals cancels. So the network itself is asked: it runs a few times with a random error of the size
that ``verify.tolerance`` derives added after every operator, and the largest effect, times ``SAFETY``, is what two
correct programs may differ by (stochastic arithmetic: Parker, "Monte Carlo arithmetic", 1997; Vignes, "Discrete
stochastic arithmetic for validating results of numerical software", Numer. Algorithms 37, 2004).

The errors are enlarged so that they are visible beside the rounding of these runs themselves, and the effect is scaled
back: to first order the effect of small errors is linear. Where values are rounded to integers it is not: errors move
few elements, but those by whole steps. ``ENLARGED`` times the errors move about ``ENLARGED`` times as many, whose joint
effect is larger by the square root of that at least, so that the effect is taken as it is, once for each program.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from edgesmith.ir import DType, Graph, Node
from edgesmith.kernels.rounding import CONFIDENCE
from edgesmith.ops import Operator
from edgesmith.ops.integer_products import IntegerProduct
from edgesmith.verify.evaluate import Evaluator, Values
from edgesmith.verify.tolerance import PROGRAMS, Computed, float_sum_deviation, rounding_deviations, smallest

__all__ = ["SAFETY", "Accumulated", "accumulate"]

SAFETY = CONFIDENCE * PROGRAMS
"""Multiple of the largest effect seen, itself one or more standard deviations, that is allowed."""

RUNS = 3
ENLARGED = 32.0


@dataclass
class Accumulated:
    """Results of a reference run and what rounding may do to every value.

    Args:
        outputs: the graph's outputs.
        tolerances: largest absolute difference allowed at each value.
        unstable: for integer values, where rounding may change an element (ties of ArgMax, floats near a threshold).
    """

    outputs: dict[str, np.ndarray] = field(default_factory=dict)
    tolerances: dict[str, float] = field(default_factory=dict)
    unstable: dict[str, np.ndarray] = field(default_factory=dict)


def accumulate(
    graph: Graph,
    feeds: Mapping[str, np.ndarray],
    *,
    computed: Computed | None = None,
    roundoff: float = 0.0,
    seed: int = 0,
) -> Accumulated:
    """Run the graph on ``feeds`` with and without errors.

    Args:
        computed: how our program computes the nodes (default: sums directly).
        roundoff: unit roundoff of the model where that is coarser than the graph's own types; at least that of fp16 if
            the graph has values in fp16, since the model then computes in fp16 what the graph computes in f32.
        seed: of the random errors; the same seed gives the same tolerances.
    """
    if DType.F16 in {t.dtype for t in graph.types.values()}:
        roundoff = max(roundoff, DType.F16.unit_roundoff)
    evaluator = Evaluator(graph)
    exact = Values(graph, feeds)
    runs = [Values(graph, feeds) for _ in range(RUNS)]
    rng = np.random.default_rng(seed)
    stepped: set[str] = set()
    sums: dict[str, np.ndarray] = {}
    found = Accumulated(tolerances=dict.fromkeys((*graph.inputs, *graph.constants), 0.0))
    for node in graph.nodes:
        operands = exact.operands(node)
        results = evaluator.run(node, operands)
        own = rounding_deviations(evaluator, node, operands, results, computed or {})
        own = [_coarser(b, r, roundoff) for b, r in zip(own, results, strict=True)]
        own = [
            np.hypot(b, s) if s is not None else b
            for b, s in zip(own, _in_floats(node, operands, results, sums), strict=True)
        ]
        exact.store(node, results)
        clean = all(isinstance(b, float) and b == 0.0 for b in own)
        for values in runs:
            mine = values.operands(node)
            same = all(a is b for a, b in zip(mine, operands, strict=True))
            disturbed = results if same else evaluator.run(node, mine)
            disturbed = _rounded_otherwise(rng, node, mine, disturbed)
            values.store(node, disturbed if clean else [_disturb(rng, *d) for d in zip(disturbed, own, strict=True)])
        _judge(found, node, results, [[values[v] for v in node.outputs] for values in runs], stepped)
        near_ties = _near_ties(node, operands)
        if near_ties is not None:
            found.unstable[node.outputs[0]] |= near_ties
        for values in (exact, *runs):
            values.release(node)
    found.outputs = {v: exact[v] for v in graph.outputs}
    return found


def _in_floats(
    node: Node, operands: Sequence[np.ndarray | None], results: tuple[np.ndarray, ...], sums: dict[str, np.ndarray]
) -> list[np.ndarray | None]:
    """What a quantised model that computes in floats brings to each output of a node by its roundings of sums.

    Args:
        sums: the deviations of integer sums that are not floats yet; grows.
    """
    if isinstance(node.op, IntegerProduct):
        sums[node.outputs[0]] = float_sum_deviation(node, operands, results[0])
        return [None]
    known = [sums[v] for v in node.inputs if v in sums]
    if not known or len(results) > 1 or results[0].shape != known[0].shape:
        return [None] * len(results)
    if results[0].dtype.kind == "f":
        return [known[0]]
    sums[node.outputs[0]] = known[0]
    return [None]


def _coarser(deviation: np.ndarray | float, result: np.ndarray, roundoff: float) -> np.ndarray | float:
    return deviation + roundoff * np.abs(result) if roundoff and result.dtype.kind == "f" else deviation


def _disturb(rng: np.random.Generator, result: np.ndarray, deviation: np.ndarray | float) -> np.ndarray:
    if result.dtype.kind != "f":
        return result
    noise = rng.standard_normal(result.shape, np.float32)
    with np.errstate(all="ignore"):
        return np.asarray(result + noise * (deviation * ENLARGED), result.dtype)


def _rounded_otherwise(
    rng: np.random.Generator, node: Node, operands: Sequence[np.ndarray | None], results: tuple[np.ndarray, ...]
) -> tuple[np.ndarray, ...]:
    """Integers as a program may have them that computes in floats what they are rounded from."""
    found = node.op.unrounded(*operands) if isinstance(node.op, Operator) else None
    if found is None:
        return results
    (result,), (steps, deviation) = results, found
    noise = rng.standard_normal(result.shape)
    low, high = DType.of(result.dtype).limits
    return (np.clip(np.rint(steps + noise * deviation * ENLARGED), low, high).astype(result.dtype),)


def _near_ties(node: Node, operands: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """Where programs may round an operator's result to neighbouring integers; None where all have the same."""
    found = node.op.unrounded(*operands) if isinstance(node.op, Operator) else None
    if found is None:
        return None
    steps, deviation = found
    return np.asarray(np.rint(steps - CONFIDENCE * deviation) != np.rint(steps + CONFIDENCE * deviation))


def _judge(
    found: Accumulated, node: Node, results: tuple[np.ndarray, ...], runs: list[list[np.ndarray]], stepped: set[str]
) -> None:
    """Note what errors do to the outputs of a node.

    Args:
        stepped: values that the errors reach by way of integers; grows.
    """
    for i, (value, result) in enumerate(zip(node.outputs, results, strict=True)):
        if result.dtype.kind != "f":
            found.tolerances[value] = 0.0
            found.unstable[value] = np.any([run[i] != result for run in runs], axis=0)
            if found.unstable[value].any():
                stepped.add(value)
            continue
        worst = 0.0
        with np.errstate(all="ignore"):
            for run in runs:
                if run[i] is not result:
                    change = np.abs(np.subtract(run[i], result, dtype=np.float64))
                    worst = max(worst, float(np.max(change[np.isfinite(change)], initial=0.0)))
        floor = smallest(DType.of(result.dtype)) if worst else 0.0
        if stepped.intersection(node.read):
            stepped.add(value)
        found.tolerances[value] = max(worst * (PROGRAMS if value in stepped else SAFETY / ENLARGED), floor)
