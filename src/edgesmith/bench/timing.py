"""Times of things that are compared: interleaved rounds, medians."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np

__all__ = ["Times", "interleaved", "timer"]

ROUND_SECONDS = 0.1
MAX_RUNS_PER_ROUND = 64

Timer = Callable[[int], list[float]]
"""Runs something a number of times and gives the nanoseconds of each run."""


@dataclass(frozen=True)
class Times:
    """Times of single runs in nanoseconds, by round.

    Args:
        rounds: the runs of each round, in the order they were taken.
    """

    rounds: tuple[tuple[float, ...], ...]

    @property
    def runs(self) -> tuple[float, ...]:
        return tuple(t for part in self.rounds for t in part)

    @property
    def round_medians(self) -> tuple[float, ...]:
        return tuple(float(np.median(part)) for part in self.rounds)

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

    def over(self, other: Times) -> float:
        """How many times as long as the other's: the median of the rounds' ratios, which slow spells do not move."""
        pairs = zip(self.round_medians, other.round_medians, strict=True)
        return float(np.median([mine / theirs for mine, theirs in pairs]))

    def to_json(self) -> dict[str, Any]:
        return {
            "median_ms": self.median / 1e6,
            "min_ms": self.least / 1e6,
            "spread": self.spread,
            "runs_ns": [[round(t) for t in part] for part in self.rounds],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Times:
        return cls(tuple(tuple(float(t) for t in part) for part in data["runs_ns"]))


def timer(call: Callable[[], object]) -> Timer:
    """Times a call in this process."""

    def run(count: int) -> list[float]:
        return [_time(call) for _ in range(count)]

    return run


def interleaved(
    work: Mapping[str, Timer],
    rounds: int = 7,
    *,
    round_seconds: float = ROUND_SECONDS,
    seconds: float = 0.0,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Times]:
    """Times of several pieces of work: A B A B ..., so that a slow spell of the machine meets all of them.

    In every round each piece runs for about ``round_seconds``, at least three times; the first of these runs finds
    caches that the others filled, and is not counted.

    Args:
        work: name to what is timed.
        rounds: number of rounds, at least one.
        seconds: rounds go on until so much time has passed; a few rounds of microseconds may all lie in a slow spell.
        progress: called with (rounds done, rounds in all).
    """
    counts = {name: _runs_per_round(run, round_seconds) for name, run in work.items()}
    taken: dict[str, list[tuple[float, ...]]] = {name: [] for name in work}
    began = time.monotonic()
    for i in count():
        if i >= rounds and time.monotonic() - began >= seconds:
            break
        for name, run in work.items():
            taken[name].append(tuple(run(counts[name] + 1)[1:]))
        if progress:
            progress(min(i + 1, rounds), rounds)
    return {name: Times(tuple(parts)) for name, parts in taken.items()}


def _time(call: Callable[[], object]) -> float:
    start = time.perf_counter_ns()
    call()
    return float(time.perf_counter_ns() - start)


def _runs_per_round(run: Timer, round_seconds: float) -> int:
    one = max(min(run(3)[1:]), 1.0)  # the first warms up: lazy initialisation, page faults
    return int(min(max(round_seconds * 1e9 // one, 2), MAX_RUNS_PER_ROUND))
