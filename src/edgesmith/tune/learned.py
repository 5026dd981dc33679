"""A learned cost model: gradient-boosted trees over features of problem, kernel and schedule.

It learns the logarithm of measured over predicted time, so that without data it is the kernels' own model. Approach:
T. Chen et al., "Learning to Optimize Tensor Programs", NeurIPS 2018. Needs scikit-learn (extra ``tune``).
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from edgesmith.errors import MissingDependency
from edgesmith.tune.database import Features, Record
from edgesmith.tune.features import candidate_features
from edgesmith.tune.predict import LEAST_UNCERTAINTY, Calibrated, Candidates, Predictor, by_problem, ranking_quality

__all__ = ["Learned", "cross_validated", "is_available", "ranks_better"]

LEAST_RECORDS = 200
FOLDS = 5
ITERATIONS = 60
OUTLIER = 1.0
"""Farther from the typical ratio, as a logarithm, is a disturbed measurement, or not worth telling apart."""


def is_available() -> bool:
    """Whether scikit-learn is installed."""
    try:
        _regressor(0)
    except MissingDependency:
        return False
    return True


def _regressor(seed: int) -> Any:
    try:
        from sklearn.ensemble import HistGradientBoostingRegressor  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingDependency(
            "the learned cost model needs scikit-learn", hint="pip install edgesmith[tune]"
        ) from error
    return HistGradientBoostingRegressor(
        max_iter=ITERATIONS, max_leaf_nodes=6, min_samples_leaf=10, l2_regularization=1.0, random_state=seed
    )


@cache
def _threads() -> Any:
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    return ThreadpoolController()


def _one_thread() -> Any:
    """The data are small: several threads would wait for one another most of the time."""
    return _threads().limit(limits=1, user_api="openmp")


class Table:
    """Features as columns: numbers as they are, words as one column for each word."""

    def __init__(self, rows: Iterable[Features]) -> None:
        self.columns: dict[str, int] = {}
        for row in rows:
            for name, value in row.items():
                self.columns.setdefault(_column(name, value), len(self.columns))
        self._words = [i for name, i in self.columns.items() if "=" in name]

    def matrix(self, rows: Sequence[Features]) -> np.ndarray:
        """One row for each candidate; what it lacks is NaN, a word it does not have 0."""
        result = np.full((len(rows), len(self.columns)), np.nan)
        result[:, self._words] = 0.0
        for r, row in enumerate(rows):
            for name, value in row.items():
                i = self.columns.get(_column(name, value), -1)
                if i >= 0:
                    result[r, i] = 1.0 if isinstance(value, str) else value
        return result


def _column(name: str, value: float | str) -> str:
    return f"{name}={value}" if isinstance(value, str) else name


class Learned(Predictor):
    """Trees trained on records.

    Args:
        features: of each problem, by digest.
        seed: equal seeds and records give equal predictions.

    Raises:
        MissingDependency: scikit-learn is not installed.
        ValueError: too few records.
    """

    def __init__(self, records: Iterable[Record], features: Mapping[str, Features], seed: int = 0) -> None:
        used = _used(records, features)
        if len(used) < LEAST_RECORDS:
            raise ValueError(f"{len(used)} records, needs {LEAST_RECORDS}")
        rows = _rows(used, features)
        targets, self._usual = _targets(used)
        self._table = Table(rows)
        matrix = self._table.matrix(rows)
        self._model = _regressor(seed)
        with _one_thread():
            self._model.fit(matrix, targets)
            spread = float(np.std(targets - self._model.predict(matrix)))
        # What is left on data that the trees have seen is about half of what is left on other data.
        self.uncertainty = max(LEAST_UNCERTAINTY, 2 * spread)

    def predict_ns(self, spaces: Sequence[Candidates]) -> list[np.ndarray]:
        if not spaces:
            return []
        rows = [
            candidate_features(c.features, c.kernel, schedule, float(own))
            for c in spaces
            for schedule, own in zip(c.schedules.values(), c.own_ns, strict=True)
        ]
        sizes = [len(c.own_ns) for c in spaces]
        times = self.times_ns(rows, np.concatenate([c.own_ns for c in spaces])) if rows else np.empty(0)
        return np.split(times, np.cumsum(sizes)[:-1])

    def times_ns(self, rows: Sequence[Features], own_ns: np.ndarray) -> np.ndarray:
        """Times of candidates with their own predictions."""
        with _one_thread():
            result: np.ndarray = own_ns * np.exp(self._usual + self._model.predict(self._table.matrix(rows)))
        return result


def _used(records: Iterable[Record], features: Mapping[str, Features]) -> list[Record]:
    """Records to learn from, in an order that does not depend on where they come from."""
    found = [r for rs in by_problem(records, features).values() for r in rs if r.predicted_ns > 0]
    return sorted(found, key=lambda r: (r.problem, r.kernel, r.schedule, r.code))


def _rows(records: Sequence[Record], features: Mapping[str, Features]) -> list[Features]:
    return [candidate_features(features[r.problem], r.kernel, json.loads(r.schedule), r.predicted_ns) for r in records]


def _targets(records: Sequence[Record]) -> tuple[np.ndarray, float]:
    """How far each candidate lies from its problem's typical ratio of measured to predicted time, and the usual ratio.

    Both as logarithms. What all candidates of a problem share does not help to rank them, and a good part of it is how
    busy the machine was.
    """
    ratios = np.array([np.log(r.least_ns / r.predicted_ns) for r in records])
    problems = np.array([r.problem for r in records])
    typical = {p: float(np.median(ratios[problems == p])) for p in dict.fromkeys(problems.tolist())}
    apart = ratios - np.array([typical[p] for p in problems.tolist()])
    return np.clip(apart, -OUTLIER, OUTLIER), float(np.median(list(typical.values())))


def ranks_better(records: Sequence[Record], features: Mapping[str, Features], seed: int = 0) -> bool:
    """Whether the learned model ranks problems that it was not trained on better than calibrated predictions do."""
    quality = cross_validated(records, features, seed)
    if not quality or not all(quality.values()):
        return False
    learned, calibrated = quality["learned"], quality["calibrated"]
    more_alike = learned["spearman"] > calibrated["spearman"]
    return more_alike and learned["regret_top3"] <= calibrated["regret_top3"]


def cross_validated(
    records: Iterable[Record], features: Mapping[str, Features], seed: int = 0
) -> dict[str, dict[str, float]]:
    """Ranking quality of the cost models on problems that they were not trained on.

    Returns:
        ``ranking_quality`` of the kernels' own predictions, these calibrated, and the learned model; empty when there
        are too few records.
    """
    used = _used(records, features)
    folds = [zlib.crc32(r.problem.encode()) % FOLDS for r in used]
    found: dict[str, dict[str, list[tuple[float, float]]]] = {"analytic": {}, "calibrated": {}, "learned": {}}
    for fold in range(FOLDS):
        inside = [r for r, f in zip(used, folds, strict=True) if f == fold]
        outside = [r for r, f in zip(used, folds, strict=True) if f != fold]
        try:
            model = Learned(outside, features, seed)
        except ValueError:
            return {}
        if not inside:
            continue
        own = np.array([r.predicted_ns for r in inside])
        typical = Calibrated(outside)
        calibrated = own * np.array([typical.factor(r.kernel) for r in inside])
        learned = model.times_ns(_rows(inside, features), own)
        for name, times in (("analytic", own), ("calibrated", calibrated), ("learned", learned)):
            for r, time in zip(inside, times, strict=True):
                found[name].setdefault(r.problem, []).append((float(time), r.least_ns))
    return {name: ranking_quality(pairs) for name, pairs in found.items()}
