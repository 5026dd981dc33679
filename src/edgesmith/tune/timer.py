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

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np

from edgesmith.errors import CompilerFailed
from edgesmith.ir import TensorType
from edgesmith.kernels import Problem
from edgesmith.target import Processor, Target
from edgesmith.toolchain import Compiler
from edgesmith.tune.trial import Trial, TrialLibrary

__all__ = ["BY_COMPILER", "Outcome", "RacingTimer", "Refused", "Timer", "Times", "TrialTimer", "Turn", "inputs", "race"]

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


@dataclass(frozen=True)
class Refused:
    """A candidate that could not be measured.

    Args:
        why: such as ``the compiler``; what refused it.
    """

    why: str


Outcome = Times | Refused
Turn = Callable[[Sequence[int]], Sequence[float | Refused]]
"""Runs some candidates of a problem, by their numbers, once each in this order; gives nanoseconds."""

BY_COMPILER = Refused("the compiler")


class Timer(Protocol):
    """Measures candidates; another machine, or something that stands in for one in tests, can take its place."""

    def time(self, groups: Sequence[Sequence[Trial]]) -> Iterator[list[Outcome]]:
        """The times of each trial, one group after the other.

        Args:
            groups: the trials of one problem each.
        """


Program = TypeVar("Program")


class RacingTimer(ABC, Generic[Program]):
    """Compiles candidates, many together, and lets those of a problem race.

    Args:
        processor: on which they run.
    """

    def __init__(self, processor: Processor) -> None:
        l2, l3 = processor.l2_bytes, max(processor.l3_bytes, processor.l2_bytes)
        self._large_bytes = l3 * LARGE_SHARE
        self._nearby_bytes, self._all_bytes = 2 * l2, 2 * l3

    @abstractmethod
    def _build(self, trials: Sequence[Trial]) -> Program:
        """Compile trials; raises ``CompilerFailed``."""

    @abstractmethod
    def _turns(
        self, group: Sequence[Trial], built: Sequence[tuple[Program, int] | None]
    ) -> AbstractContextManager[Turn]:
        """The candidates of a problem, ready to run.

        Args:
            built: program and number there of each; None: the compiler refused it.
        """

    def time(self, groups: Sequence[Sequence[Trial]]) -> Iterator[list[Outcome]]:
        built = self._compiled([t for group in groups for t in group])
        first = 0
        for group in groups:
            with self._turns(group, built[first : first + len(group)]) as turn:
                outcomes = race(len(group), turn)
            yield outcomes
            first += len(group)

    def _compiled(self, trials: Sequence[Trial]) -> list[tuple[Program, int] | None]:
        """Program and number of each trial; after a failure, each is tried by itself to find those at fault."""
        try:
            program = self._build(trials)
            return [(program, i) for i in range(len(trials))]
        except CompilerFailed:
            if len(trials) == 1:
                return [None]
            half = len(trials) // 2
            return self._compiled(trials[:half]) + self._compiled(trials[half:])

    def _other_bytes(self, trial: Trial) -> int:
        """How much other memory is read before each run."""
        fixed = sum(c.nbytes for c in trial.code.constants) + trial.code.prepared_bytes
        return self._all_bytes if fixed > self._large_bytes else self._nearby_bytes


class TrialTimer(RacingTimer[TrialLibrary]):
    """Compiles and runs trials on this machine."""

    def __init__(self, target: Target, compiler: Compiler, processor: Processor) -> None:
        super().__init__(processor)
        self._target, self._compiler = target, compiler
        self._memory = np.ones(self._all_bytes, np.uint8)

    def _build(self, trials: Sequence[Trial]) -> TrialLibrary:
        return TrialLibrary(trials, self._target, self._compiler)

    @contextmanager
    def _turns(self, group: Sequence[Trial], built: Sequence[tuple[TrialLibrary, int] | None]) -> Iterator[Turn]:
        feeds = inputs(group[0].problem)
        calls = [None if found is None else (found[0], found[0].call(found[1], feeds)) for found in built]

        def run(i: int) -> float | Refused:
            found = calls[i]
            if found is None:
                return BY_COMPILER
            library, call = found
            return library.time_in_network_ns(call, self._memory[: self._other_bytes(group[i])])

        yield lambda which: [run(i) for i in which]


def race(count: int, turn: Turn) -> list[Outcome]:
    """Let candidates run in turn until each has dropped out or has run long enough.

    Args:
        count: their number.
    """
    runs: list[list[float]] = [[] for _ in range(count)]
    refused: dict[int, Refused] = {}
    running, drops = list(range(count)), dict(DROPS)
    while running:
        for i, taken in zip(running, turn(running), strict=True):
            if isinstance(taken, Refused):
                refused[i] = taken
            else:
                runs[i].append(taken)
        running = [i for i in running if i not in refused]
        best = min((min(r) for i, r in enumerate(runs) if r and i not in refused), default=0.0)
        ratio = drops.get(len(runs[running[0]]), float("inf")) if running else 0.0
        running = [i for i in running if min(runs[i]) <= best * ratio and not _is_done(runs[i])]
    return [refused[i] if i in refused else Times(tuple(runs[i])) for i in range(count)]


def _is_done(runs: Sequence[float]) -> bool:
    enough = sum(runs) > SECONDS * 1e9 or len(runs) >= MOST_RUNS
    return len(runs) >= LEAST_RUNS and enough


def inputs(problem: Problem) -> dict[str, np.ndarray]:
    """Seeded values for the inputs of a problem; integers are small, so that they can be indices."""
    rng = np.random.default_rng(0)

    def values(type: TensorType) -> np.ndarray:
        if type.dtype.is_float:
            return rng.standard_normal(type.shape).astype(type.dtype.numpy)
        return rng.integers(0, 2, type.shape).astype(type.dtype.numpy)

    return {v: values(problem.type(v)) for v in problem.region.inputs}
