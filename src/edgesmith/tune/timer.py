"""Timing candidates as they will run inside a network.

In a network, a step finds its inputs in the inner caches, because the step before has just written them, and its
weights farther out, because everything else ran since they were last used. So before each timed run as much other
memory is read as the second-level cache holds twice, and then the inputs. Weights that take a good part of the
last-level cache belong to networks that fill it: for these, the other memory is twice the last-level cache, and they
come from memory.

Candidates of one problem run in turn, so that a slow spell of the machine meets all; those that fall behind drop out
early. The least time counts: interference only adds. Compilers run on all cores before any candidate is timed, never at
the same time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from edgesmith.errors import CompilerFailed
from edgesmith.ir import TensorType
from edgesmith.kernels import Problem
from edgesmith.target import Processor, Target
from edgesmith.toolchain import Compiler
from edgesmith.tune.trial import Trial, TrialLibrary

__all__ = ["Timer", "Times", "TrialTimer"]

SECONDS = 0.02
"""Timed for each candidate that stays to the end, unless ``LEAST_RUNS`` take longer."""
LEAST_RUNS, MOST_RUNS = 5, 60
DROPS = ((2, 10.0), (4, 2.5), (6, 1.4), (12, 1.15))
"""(runs, ratio): after so many runs, candidates slower than the best by the ratio drop out."""
LARGE_SHARE = 1 / 8
"""Share of the last-level cache from which on constants are taken to come from memory."""


@dataclass(frozen=True)
class Times:
    """Nanoseconds of single runs."""

    runs: tuple[float, ...]

    @property
    def least(self) -> float:
        return min(self.runs)

    @property
    def median(self) -> float:
        return float(np.median(self.runs))

    @property
    def spread(self) -> float:
        """Interquartile range over the median."""
        low, high = np.percentile(self.runs, (25, 75))
        return float((high - low) / self.median)


class Timer(Protocol):
    """Measures candidates; another one can stand in for the machine in tests."""

    def time(self, groups: Sequence[Sequence[Trial]]) -> Iterator[list[Times | None]]:
        """The times of each trial, one group after the other; None where the compiler refused the code.

        Args:
            groups: the trials of one problem each.
        """


class TrialTimer:
    """Compiles and runs trials on this machine."""

    def __init__(self, target: Target, compiler: Compiler, processor: Processor) -> None:
        self._target, self._compiler = target, compiler
        l2, l3 = processor.l2_bytes, max(processor.l3_bytes, processor.l2_bytes)
        self._large_bytes = l3 * LARGE_SHARE
        self._memory = np.ones(2 * l3, np.uint8)
        self._nearby = self._memory[: 2 * l2]

    def time(self, groups: Sequence[Sequence[Trial]]) -> Iterator[list[Times | None]]:
        trials = [t for group in groups for t in group]
        libraries = self._compiled(trials)
        first = 0
        for group in groups:
            yield self._race(group, libraries[first : first + len(group)])
            first += len(group)

    def _compiled(self, trials: Sequence[Trial]) -> list[tuple[TrialLibrary, int] | None]:
        """Library and index of each trial; after a failure, each is tried by itself to find those at fault."""
        try:
            library = TrialLibrary(trials, self._target, self._compiler)
            return [(library, i) for i in range(len(trials))]
        except CompilerFailed:
            if len(trials) == 1:
                return [None]
            half = len(trials) // 2
            return self._compiled(trials[:half]) + self._compiled(trials[half:])

    def _race(self, group: Sequence[Trial], libraries: Sequence[tuple[TrialLibrary, int] | None]) -> list[Times | None]:
        feeds = inputs(group[0].problem)
        racers = [
            None if found is None else _Racer(trial, *found, feeds, self._other(trial))
            for trial, found in zip(group, libraries, strict=True)
        ]
        running = [r for r in racers if r is not None]
        drops = dict(DROPS)
        while running:
            for racer in running:
                racer.run()
            best = min(r.least for r in racers if r is not None)
            ratio = drops.get(len(running[0].runs), float("inf"))
            running = [r for r in running if r.least <= best * ratio and not r.is_done]
        return [None if r is None else Times(tuple(r.runs)) for r in racers]

    def _other(self, trial: Trial) -> np.ndarray:
        fixed = sum(c.nbytes for c in trial.code.constants) + trial.code.prepared_bytes
        return self._memory if fixed > self._large_bytes else self._nearby


class _Racer:
    """One candidate while it is timed."""

    def __init__(
        self, trial: Trial, library: TrialLibrary, index: int, feeds: dict[str, np.ndarray], other: np.ndarray
    ) -> None:
        self._library, self._other = library, other
        self._call = library.call(index, feeds)
        self.runs: list[float] = []

    def run(self) -> None:
        self.runs.append(self._library.time_in_network_ns(self._call, self._other))

    @property
    def least(self) -> float:
        return min(self.runs)

    @property
    def is_done(self) -> bool:
        enough = sum(self.runs) > SECONDS * 1e9 or len(self.runs) >= MOST_RUNS
        return len(self.runs) >= LEAST_RUNS and enough


def inputs(problem: Problem) -> dict[str, np.ndarray]:
    """Seeded values for the inputs of a problem; integers are small, so that they can be indices."""
    rng = np.random.default_rng(0)

    def values(type: TensorType) -> np.ndarray:
        if type.dtype.is_float:
            return rng.standard_normal(type.shape).astype(type.dtype.numpy)
        return rng.integers(0, 2, type.shape).astype(type.dtype.numpy)

    return {v: values(problem.type(v)) for v in problem.region.inputs}
