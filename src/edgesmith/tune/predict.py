"""Predicted times of kernels that were not measured: the kernels' own models, corrected by what was measured."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgesmith.kernels import Kernel, Problem, Schedule
from edgesmith.tune.database import Features, Record, freeze
from edgesmith.tune.features import problem_features

__all__ = ["Calibrated", "Candidates", "Predictor", "by_problem", "fastest", "ranking_quality"]

UNKNOWN_UNCERTAINTY = 0.5
LEAST_UNCERTAINTY = 0.05


@dataclass(frozen=True, eq=False)
class Candidates:
    """The tuning space of one kernel for one problem, with what is known of it without measuring.

    Args:
        features: of the problem.
        schedules: by their frozen text.
        own_ns: the kernel's own prediction for each schedule.
    """

    kernel: str
    features: Features
    schedules: Mapping[str, Schedule]
    own_ns: np.ndarray

    @classmethod
    def of(cls, kernel: Kernel, problem: Problem) -> Candidates:
        """Those of a kernel that accepts the problem."""
        schedules = {freeze(s): s for s in kernel.schedules(problem)}
        own = np.array([kernel.cost(problem, s) for s in schedules.values()], float)
        return cls(kernel.name, problem_features(problem), schedules, own)


class Predictor(ABC):
    """Times of candidates, with the typical error of the logarithm (0.1: about 10 %)."""

    uncertainty: float

    @abstractmethod
    def predict_ns(self, spaces: Sequence[Candidates]) -> list[np.ndarray]:
        """For each space, one time for each schedule."""


class Calibrated(Predictor):
    """A kernel's own prediction times the typical ratio of measured to predicted times, learned for each kernel.

    Args:
        records: what was measured.
    """

    def __init__(self, records: Iterable[Record]) -> None:
        ratios: dict[str, list[float]] = {}
        for r in fastest(records):
            if r.predicted_ns > 0:
                ratios.setdefault(r.kernel, []).append(float(np.log(r.least_ns / r.predicted_ns)))
        self._factors = {k: float(np.median(v)) for k, v in ratios.items()}
        every = [x for v in ratios.values() for x in v]
        self._usual = float(np.median(every)) if every else 0.0
        errors = [abs(x - self._factors[k]) for k, v in ratios.items() for x in v]
        self.uncertainty = max(LEAST_UNCERTAINTY, float(np.median(errors)) * 1.5) if errors else UNKNOWN_UNCERTAINTY

    def factor(self, kernel: str) -> float:
        """How many times as long as it predicts a kernel takes."""
        return math.exp(self._factors.get(kernel, self._usual))

    def predict_ns(self, spaces: Sequence[Candidates]) -> list[np.ndarray]:
        return [c.own_ns * self.factor(c.kernel) for c in spaces]


def fastest(records: Iterable[Record]) -> list[Record]:
    """The fastest record of each problem and kernel: where it counts that a prediction is right."""
    found: dict[tuple[str, str], Record] = {}
    for r in records:
        key = r.problem, r.kernel
        if key not in found or r.least_ns < found[key].least_ns:
            found[key] = r
    return list(found.values())


def ranking_quality(times: Mapping[str, Sequence[tuple[float, float]]]) -> dict[str, float]:
    """How well predictions rank the candidates of each problem.

    Args:
        times: (predicted, measured) of each candidate, by problem.

    Returns:
        Means over the problems of Spearman's rank correlation, and of the regret of measuring only the k candidates
        that are predicted to be fastest (0.1: 10 % slower than the best one).
    """
    correlations = []
    regrets: dict[int, list[float]] = {1: [], 3: [], 5: []}
    for pairs in times.values():
        if len(pairs) < 3:
            continue
        predicted, measured = np.array(pairs).T
        correlations.append(_spearman(predicted, measured))
        order = np.argsort(predicted, kind="stable")
        for k, found in regrets.items():
            found.append(float(measured[order[:k]].min() / measured.min() - 1))
    if not correlations:
        return {}
    return {
        "problems": float(len(correlations)),
        "spearman": float(np.mean(correlations)),
        **{f"regret_top{k}": float(np.mean(v)) for k, v in regrets.items()},
    }


def _spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Correlation of the ranks; ties in their order count as ranked."""
    ranks = [np.argsort(np.argsort(x, kind="stable"), kind="stable").astype(float) for x in (a, b)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def by_problem(records: Iterable[Record], features: Mapping[str, Features]) -> dict[str, list[Record]]:
    """Records of the problems whose features are known."""
    found: dict[str, list[Record]] = {}
    for r in records:
        if r.problem in features:
            found.setdefault(r.problem, []).append(r)
    return found
