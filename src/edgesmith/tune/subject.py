"""One problem under search: its candidates, what they took, and which to measure next.

What measuring a candidate is worth is its expected improvement: how much shorter than the best time so far it is on
average, counting 0 where it is longer, when the logarithm of its time is normally distributed around its prediction
(D. Jones, M. Schonlau and W. Welch, "Efficient global optimization of expensive black-box functions", 1998).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist, median

import numpy as np

from edgesmith.kernels import Problem
from edgesmith.tune.predict import LEAST_UNCERTAINTY, Candidates

__all__ = ["Candidate", "Subject"]

FIRST_OF_KERNEL = 2
"""Candidates of each promising kernel that are measured first."""
PROMISING = 2.5
"""A kernel is measured when its best prediction is at most so many times the problem's best one."""
LEAST_IMPROVEMENT = 0.003
"""Candidates that are expected to save a smaller share of the problem's time are left alone."""
WAVE = 8
"""Candidates that are measured together because they are expected to improve, and ..."""
NEAR = 4
"""... because they are near the best one."""
KNOWN = 4
"""So many measured candidates tell how uncertain predictions are for this problem."""

Candidate = tuple[str, str]
"""Name of a kernel, and a frozen schedule."""

_NORMAL = NormalDist()


class Subject:
    """A distinct problem of a graph.

    Args:
        spaces: of each kernel that may be used and accepts the problem.
        times: of candidates that were measured before, in nanoseconds.
        hints: candidates that are fast on similar machines, fastest first.
    """

    def __init__(
        self,
        problem: Problem,
        spaces: Mapping[str, Candidates],
        times: Mapping[Candidate, float],
        hints: Sequence[Candidate] = (),
    ) -> None:
        self.problem, self.spaces = problem, spaces
        self.required: dict[Candidate, None] = {}
        self.times = {c: t for c, t in times.items() if c[0] in spaces and c[1] in spaces[c[0]].schedules}
        self.refused: set[Candidate] = set()
        self._hints = hints
        self._surveyed = False
        self.predicted: dict[Candidate, float] = {}
        self._uncertainty = LEAST_UNCERTAINTY

    @property
    def best(self) -> Candidate:
        return min(self.times, key=lambda c: (self.times[c], c))

    @property
    def best_ns(self) -> float:
        return min(self.times.values())

    def predict(self, predicted: Mapping[Candidate, float], uncertainty: float) -> None:
        """Take predictions for all candidates, corrected by what this problem's own measurements show.

        Args:
            uncertainty: typical error of the predictions' logarithm.
        """
        ratios: dict[str, list[float]] = {}
        for c, time in self.times.items():
            ratios.setdefault(c[0], []).append(time / predicted[c])
        factors = {name: median(r) for name, r in ratios.items()}
        self.predicted = {c: time * factors.get(c[0], 1.0) for c, time in predicted.items()}
        self._uncertainty = uncertainty
        if len(self.times) >= KNOWN:
            errors = [math.log(time / self.predicted[c]) for c, time in self.times.items()]
            self._uncertainty = max(LEAST_UNCERTAINTY, float(np.sqrt(np.mean(np.square(errors)))))

    def hoped_ns(self, candidate: Candidate) -> float:
        """What the problem would take with a candidate: measured, or, before that, what it is hoped to come to."""
        if candidate in self.times:
            return self.times[candidate]
        if candidate in self.refused:
            return float("inf")
        if not self.times:
            return self.predicted[candidate] * math.exp(-self._uncertainty)
        share = self.improvement(candidate)
        return self.best_ns * (1 - share) if share >= LEAST_IMPROVEMENT else float("inf")

    def improvement(self, candidate: Candidate) -> float:
        """Expected improvement as a share of the best time so far."""
        ratio, u = self.predicted[candidate] / self.best_ns, self._uncertainty
        a = -math.log(ratio) / u
        return _NORMAL.cdf(a) - ratio * math.exp(u * u / 2) * _NORMAL.cdf(a - u)

    def next(self) -> list[Candidate]:
        """Candidates to measure now; none when the problem is finished."""
        left = [c for c in self.predicted if c not in self.times and c not in self.refused]
        if not self._surveyed:
            self._surveyed = True
            wanted = self._survey()
            survey = [c for c in left if c in wanted]
            if survey or not self.times:
                return survey
        worth = {c: self.improvement(c) for c in left}
        best = sorted((c for c in left if worth[c] >= LEAST_IMPROVEMENT), key=lambda c: -worth[c])
        return list(dict.fromkeys([*best[:WAVE], *self._neighbours(left)[:NEAR]]))

    def gain_ns(self, candidates: Sequence[Candidate]) -> float:
        """What measuring some candidates is expected to save."""
        if not self.times:
            return min(self.predicted[c] for c in candidates)
        return self.best_ns * max(LEAST_IMPROVEMENT, *(self.improvement(c) for c in candidates))

    def _survey(self) -> dict[Candidate, None]:
        """What was required, the few best of every promising kernel, and hints."""
        chosen = dict(self.required)
        least = min(self.predicted.values(), default=0.0)
        for name, space in self.spaces.items():
            known = sum(c[0] == name for c in self.times)
            mine = sorted(((name, text) for text in space.schedules), key=self.predicted.__getitem__)
            if mine and self.predicted[mine[0]] <= PROMISING * least:
                chosen.update(dict.fromkeys(mine[: max(FIRST_OF_KERNEL - known, 0)]))
        return chosen | dict.fromkeys(self._hints[:FIRST_OF_KERNEL])

    def _neighbours(self, left: Sequence[Candidate]) -> list[Candidate]:
        """Candidates of the best one's kernel that are as near to it as any is, the best predictions first."""
        kernel, text = self.best
        points = _points(self.spaces[kernel])
        distances = {t: sum(abs(a - b) for a, b in zip(p, points[text], strict=True)) for t, p in points.items()}
        nearest = min((d for d in distances.values() if d), default=0)
        near = [c for c in left if c[0] == kernel and distances[c[1]] <= nearest]
        return sorted(near, key=self.predicted.__getitem__)


def _points(space: Candidates) -> dict[str, tuple[int, ...]]:
    """Each schedule as a point: the rank of each of its values among all values of that name."""
    schedules = space.schedules
    names = sorted({name for s in schedules.values() for name in s})
    values = {name: sorted({s.get(name, 0) for s in schedules.values()}) for name in names}
    ranks = {name: {v: i for i, v in enumerate(found)} for name, found in values.items()}
    return {text: tuple(ranks[n][s.get(n, 0)] for n in names) for text, s in schedules.items()}
