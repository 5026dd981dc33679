"""Graphs to tune, and a timer that stands in for the machine."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence

import onnx

from edgesmith.frontend.normalize import normalize
from edgesmith.frontend.onnx import bind
from edgesmith.ir import Graph
from edgesmith.passes import optimize
from edgesmith.target import Processor
from edgesmith.tune import Environment
from edgesmith.tune.database import freeze
from edgesmith.tune.timer import BY_COMPILER, Outcome, Times
from edgesmith.tune.trial import Trial

PROCESSOR = Processor("Test CPU", "vendor", "25", "1", "0", 32768, 524288, 1 << 25)
HERE = Environment(PROCESSOR, "x86_64-linux-gnu+avx2", "compiler 1")


def graph_of(model: onnx.ModelProto) -> Graph:
    return optimize(bind(normalize(model)))[0]


def deviation(trial: Trial) -> float:
    """How far a candidate's time is from its prediction: some fixed number between 0.6 and 1.6."""
    text = f"{trial.problem.region.label} {trial.kernel.name} {freeze(trial.schedule)}"
    return 0.6 + zlib.crc32(text.encode()) % 1000 / 1000


class FakeTimer:
    """Times that follow from the candidates alone.

    Args:
        factor: how many times as long as its own prediction a candidate takes; None: the compiler refuses it.
        clock_seconds: what timing one candidate takes on ``seconds``, a clock.
        interrupt_after: Ctrl-C after so many candidates.
    """

    def __init__(
        self,
        factor: Callable[[Trial], float | None] = deviation,
        clock_seconds: float = 0.0,
        interrupt_after: int | None = None,
    ) -> None:
        self._factor, self._clock_seconds, self._interrupt_after = factor, clock_seconds, interrupt_after
        self.seen: list[Trial] = []
        self.seconds = 0.0

    def clock(self) -> float:
        return self.seconds

    def time_ns(self, trial: Trial) -> float | None:
        factor = self._factor(trial)
        return None if factor is None else factor * trial.kernel.cost(trial.problem, trial.schedule)

    def time(self, groups: Sequence[Sequence[Trial]]) -> Iterator[list[Outcome]]:
        for group in groups:
            found: list[Outcome] = []
            for trial in group:
                if self._interrupt_after is not None and len(self.seen) >= self._interrupt_after:
                    raise KeyboardInterrupt
                self.seen.append(trial)
                self.seconds += self._clock_seconds
                time = self.time_ns(trial)
                found.append(BY_COMPILER if time is None else Times((time, 1.1 * time)))
            yield found
