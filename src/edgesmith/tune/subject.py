"""One problem under search: its candidates, what they took, and which to measure next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edgesmith.kernels import KERNELS, Problem, Schedule
from edgesmith.tune.database import freeze

__all__ = ["Candidate", "Subject"]

FIRST_OF_KERNEL = 3
"""Candidates of each kernel that are measured first."""
PROMISING = 2.5
"""A kernel is measured when its best prediction is at most so many times the problem's best one."""
CLOSE = 1.05
"""After that, candidates predicted to take at most so many times the best time are measured as well."""
WAVE = 4
"""Neighbours, and close candidates, that are measured together."""
SETTLED = 0.99
"""Neighbours are searched on as long as they bring the best time below this share of what it was."""

Candidate = tuple[str, str]
"""Name of a kernel, and a frozen schedule."""


class Subject:
    """A distinct problem of a graph.

    Args:
        only: kernels that may be used (default: all).
        hints: candidates that are fast on similar machines, fastest first.
    """

    def __init__(self, problem: Problem, only: frozenset[str] | None = None, hints: Sequence[Candidate] = ()) -> None:
        self.problem = problem
        self.spaces: dict[str, dict[str, Schedule]] = {}
        for name, kernel in KERNELS.items():
            if (only is None or name in only) and kernel.accepts(problem) is None:
                self.spaces[name] = {freeze(s): s for s in kernel.schedules(problem)}
        self.required: dict[Candidate, None] = {}
        self.times: dict[Candidate, float] = {}
        self.refused: set[Candidate] = set()
        self._hints = hints
        self._surveyed = False
        self._before_ns = float("inf")

    def __contains__(self, candidate: Candidate) -> bool:
        return candidate[1] in self.spaces.get(candidate[0], {})

    @property
    def best(self) -> Candidate:
        return min(self.times, key=lambda c: (self.times[c], c))

    @property
    def best_ns(self) -> float:
        return min(self.times.values())

    def next(self, predicted: Mapping[Candidate, float]) -> list[Candidate]:
        """Candidates to measure now; none when the problem is finished.

        Args:
            predicted: time of every candidate.
        """
        left = {(n, text): None for n, space in self.spaces.items() for text in space}
        left = {c: None for c in left if c not in self.times and c not in self.refused}
        if not self._surveyed:
            self._surveyed = True
            survey = [c for c in self._survey(predicted) if c in left]
            if survey or not self.times:
                return survey
        close = sorted((c for c in left if predicted[c] <= CLOSE * self.best_ns), key=predicted.__getitem__)
        near = self._neighbours(left, predicted) if self.best_ns < SETTLED * self._before_ns else []
        self._before_ns = self.best_ns
        return list(dict.fromkeys([*near[:WAVE], *close[:WAVE]]))

    def calibrated(self, predicted: Mapping[Candidate, float]) -> dict[Candidate, float]:
        """Predictions corrected by what this problem's own measurements show of each kernel."""
        ratios: dict[str, list[float]] = {}
        for c, time in self.times.items():
            ratios.setdefault(c[0], []).append(time / predicted[c])
        factors = {name: float(np.median(r)) for name, r in ratios.items()}
        return {c: time * factors.get(c[0], 1.0) for c, time in predicted.items()}

    def _survey(self, predicted: Mapping[Candidate, float]) -> list[Candidate]:
        """What was required, the few best of every promising kernel, and hints."""
        chosen = dict(self.required)
        least = min(predicted.values(), default=0.0)
        for name, space in self.spaces.items():
            mine = sorted(((name, text) for text in space), key=predicted.__getitem__)
            if mine and predicted[mine[0]] <= PROMISING * least:
                chosen.update(dict.fromkeys(mine[:FIRST_OF_KERNEL]))
        chosen.update(dict.fromkeys(self._hints[:FIRST_OF_KERNEL]))
        return list(chosen)

    def _neighbours(self, left: Mapping[Candidate, None], predicted: Mapping[Candidate, float]) -> list[Candidate]:
        """Candidates of the best one's kernel, nearest first."""
        kernel, text = self.best
        points = _points(self.spaces[kernel])
        here = points[text]

        def distance(c: Candidate) -> tuple[int, float]:
            return sum(abs(a - b) for a, b in zip(points[c[1]], here, strict=True)), predicted[c]

        return sorted((c for c in left if c[0] == kernel), key=distance)


def _points(space: Mapping[str, Schedule]) -> dict[str, tuple[int, ...]]:
    """Each schedule as a point: the rank of each of its values among all values of that name."""
    names = sorted({name for s in space.values() for name in s})
    values = {name: sorted({s.get(name, 0) for s in space.values()}) for name in names}
    ranks = {name: {v: i for i, v in enumerate(found)} for name, found in values.items()}
    return {text: tuple(ranks[n][s.get(n, 0)] for n in names) for text, s in space.items()}
