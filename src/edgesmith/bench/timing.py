"""Times of things that are compared: interleaved rounds in one process, medians."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Times", "interleaved"]

ROUND_SECONDS = 0.1
MAX_RUNS_PER_ROUND = 64


@dataclass(frozen=True)
class Times:
    """Times of single runs in nanoseconds, in the order they were taken.

    Args:
        runs: one time a run.
        rounds: the median of each round.
    """

    runs: tuple[float, ...]
    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Median over all runs."""
        return float(np.median(self.runs))

    @property
    def least(self) -> float:
        return min(self.runs)

    @property
    def spread(self) -> float:
        """Interquartile range over the median: 0.02 means that half of the runs lie within 2 % of each other."""
        low, high = np.percentile(self.runs, (25, 75))
        return float(high - low) / self.median

    def to_json(self) -> dict[str, Any]:
        return {
            "median_ms": self.median / 1e6,
            "min_ms": self.least / 1e6,
            "spread": self.spread,
            "runs": len(self.runs),
            "round_medians_ms": [t / 1e6 for t in self.rounds],
        }


def interleaved(
    work: Mapping[str, Callable[[], object]],
    rounds: int = 7,
    *,
    round_seconds: float = ROUND_SECONDS,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Times]:
    """Times of several pieces of work: A B A B ..., so that a slow spell of the machine meets all of them.

    In every round each piece runs for about ``round_seconds``, at least three times; the first of these runs finds
    caches that the others filled, and is not counted.

    Args:
        work: name to what is timed.
        rounds: number of rounds, at least one.
        progress: called with (rounds done, rounds in all).
    """
    counts = {name: _runs_per_round(call, round_seconds) for name, call in work.items()}
    taken: dict[str, list[list[float]]] = {name: [] for name in work}
    for i in range(rounds):
        for name, call in work.items():
            call()
            taken[name].append([_time(call) for _ in range(counts[name])])
        if progress:
            progress(i + 1, rounds)
    return {
        name: Times(tuple(t for part in parts for t in part), tuple(float(np.median(part)) for part in parts))
        for name, parts in taken.items()
    }


def _time(call: Callable[[], object]) -> float:
    start = time.perf_counter_ns()
    call()
    return float(time.perf_counter_ns() - start)


def _runs_per_round(call: Callable[[], object], round_seconds: float) -> int:
    call()  # warm-up: lazy initialisation, page faults
    one = max(_time(call), 1.0)
    return int(min(max(round_seconds * 1e9 // one, 2), MAX_RUNS_PER_ROUND))
