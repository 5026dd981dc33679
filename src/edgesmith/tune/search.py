"""The search: which candidates of a graph's problems to measure, and in which order, within a budget of time.

A plan is made with times that were measured where they are known, and elsewhere with what the problems are hoped to
come to. What that plan uses is measured, and a plan is made again: so only those regions are measured that could be
part of the best cover, and when nothing that a plan uses is worth measuring any more, none that is left out could have
improved it, as far as predictions hold. (Lazy evaluation of edges in shortest paths: C. Dellin and S. Srinivasa, "A
unifying formalism for shortest path problems with expensive edge evaluations via lazy best-first search over paths with
edge selectors", ICAPS 2016.)

Within a problem, first the few best candidates of every promising kernel are measured, then those that are worth most,
and all that are nearest to the best one, so that it is at least a local optimum; first where most time can be gained in
the network.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from edgesmith.ir import Graph
from edgesmith.kernels import KERNELS, Kernel, Place, Problem, Schedule, refusal
from edgesmith.plan import Plan, Step, make_plan
from edgesmith.plan.cover import assumed_places
from edgesmith.target import Target
from edgesmith.tune.database import Database, Record, freeze
from edgesmith.tune.features import code_digest, problem_features
from edgesmith.tune.learned import Learned, is_available, ranks_better
from edgesmith.tune.measurements import OWN, SIMILAR, MeasuredCost, Measurements, Predictions
from edgesmith.tune.predict import Calibrated, Predictor
from edgesmith.tune.subject import Candidate, Subject
from edgesmith.tune.timer import Outcome, Refused, Timer, Times
from edgesmith.tune.trial import Trial

__all__ = ["Progress", "Search", "Status", "Tuned"]

BATCH_TRIALS = 64
"""Trials that are compiled together; each batch begins with compilers that read the system's headers."""
BATCH_BYTES = 256 << 20
DISTURBED = 1.1
"""When the best candidate takes so many times as long as before, the machine was busy, and all is measured again."""
GROWTH = 1.25
"""Of the number of records, until predictors are compared again."""
LEAST_GAIN = 1e-4
"""Problems that could gain less of the network's time are left alone."""


@dataclass(frozen=True)
class Status:
    """What is known at one moment.

    Args:
        seconds, budget_seconds: since the start, and in all.
        measured: candidates measured so far.
        first_ns: time of the network by the choices of the kernels' own models; None until these are measured.
        best_ns: time of the network by the best choices so far; None until these are measured.
        waiting: why nothing is measured at the moment.
    """

    seconds: float
    budget_seconds: float
    measured: int
    first_ns: float | None
    best_ns: float | None
    waiting: str = ""


Progress = Callable[[Status], None]


@dataclass(frozen=True, eq=False)
class Tuned:
    """The outcome of a search.

    Args:
        plan: the best plan.
        first: the plan by the kernels' own models.
        plan_ns, first_ns: time of each step of these plans, by name; predicted where it was not measured.
        finished: False when the budget or the user ended the search.
        refused: candidates that could not be measured, and why.
    """

    plan: Plan
    first: Plan
    plan_ns: Mapping[str, float]
    first_ns: Mapping[str, float]
    status: Status
    finished: bool
    refused: tuple[str, ...]


class Search:
    """Tunes the kernels of one graph.

    Args:
        graph: after passes.
        timer: measures candidates.
        known: what is known already; what is measured is added.
        database: keeps what is measured.
        only: kernels that may be used.
        budget_seconds: when to stop.
        clock: seconds, for the budget.
    """

    def __init__(
        self,
        graph: Graph,
        target: Target,
        timer: Timer,
        known: Measurements,
        database: Database,
        *,
        only: Sequence[str] | None = None,
        budget_seconds: float = 300.0,
        seed: int = 0,
        clock: Callable[[], float] = time.monotonic,
        progress: Progress | None = None,
    ) -> None:
        self._graph, self._target, self._timer = graph, target, timer
        self._known, self._database = known, database
        self._only = None if only is None else frozenset(only)
        self._budget, self._seed, self._clock = budget_seconds, seed, clock
        self._progress = progress or (lambda _: None)
        self._subjects: dict[str, Subject] = {}
        self._measured = 0
        self._best_ns: float | None = None
        self._learning_helps, self._ask_again_at = False, 0.0
        self._refused: list[str] = []
        self._trial_seconds = 0.0
        self._start = clock()

    def run(self) -> Tuned:
        """Search until nothing is left, the budget is spent, or the user interrupts."""
        finished = False
        first = self._current = make_plan(self._graph, self._target, only=self._kernels)
        self._first = first
        try:
            self._predictions = Predictions(self._known, self._predictor())
            for step in first.steps:
                self._subject(step.problem).required[_candidate(step)] = None
            self._measure(self._wave(first))
            while not finished and self._left > 0:
                self._predict()
                self._current = make_plan(self._graph, self._target, self._hoped_ns, only=self._kernels)
                wave = self._wave(self._current)
                finished = not wave
                self._measure(wave)
        except KeyboardInterrupt:
            pass
        cost = MeasuredCost(self._known, self._only)
        plan = self._current = make_plan(self._graph, self._target, cost, only=self._kernels)
        self._note()
        return Tuned(plan, first, self._times(plan), self._times(first), self._status(), finished, tuple(self._refused))

    @property
    def _kernels(self) -> list[str] | None:
        return None if self._only is None else sorted(self._only)

    @property
    def _left(self) -> float:
        """Seconds."""
        return self._budget - (self._clock() - self._start)

    def _predict(self) -> None:
        """Predict everything again with what is known now."""
        self._predictions = Predictions(self._known, self._predictor())
        for subject in self._subjects.values():
            self._inform(subject)

    def _predictor(self) -> Predictor:
        """From all that is known; which kind proves better is asked again when much more is known than last time."""
        records = self._known.records()
        if len(records) >= self._ask_again_at:
            self._learning_helps = is_available() and ranks_better(records, self._known.features, self._seed)
            self._ask_again_at = GROWTH * len(records)
        return Learned(records, self._known.features, self._seed) if self._learning_helps else Calibrated(records)

    def _inform(self, subject: Subject) -> None:
        predicted = {
            (name, text): time_ns
            for name in subject.spaces
            for text, time_ns in self._predictions(KERNELS[name], subject.problem).items()
        }
        subject.predict(predicted, self._predictions.uncertainty)

    def _hoped_ns(self, kernel: Kernel, problem: Problem, schedule: Schedule) -> float:
        return self._subject(problem).hoped_ns((kernel.name, freeze(schedule)))

    def _subject(self, problem: Problem) -> Subject:
        digest = self._known.digest(problem)
        if digest not in self._subjects:
            kernels = [k for n, k in KERNELS.items() if self._only is None or n in self._only]
            spaces = {k.name: self._known.candidates(k, problem) for k in kernels if refusal(k, problem) is None}
            # By kernel, because only the fastest record of a query is sure to be of the code that is emitted today.
            found = [m for name in spaces for m in self._known.of(problem, frozenset((name,)), (OWN,))]
            times = {m.key: m.record.least_ns for m in reversed(found)}
            hints = [m.key for m in self._known.of(problem, self._only, (SIMILAR,))]
            subject = self._subjects[digest] = Subject(problem, spaces, times, hints)
            self._inform(subject)
        return self._subjects[digest]

    def _wave(self, plan: Plan) -> list[tuple[Subject, list[Candidate]]]:
        """What to measure for the problems of a plan, most gain first."""
        assumed = assumed_places(plan.graph)
        occurrences = Counter(d for step in plan.steps for d in self._digests(plan, step, assumed))
        least_ns = LEAST_GAIN * sum(self._times(plan).values())
        found = []
        for digest, count in occurrences.items():
            subject = self._subjects[digest]
            candidates = subject.next()
            if candidates:
                gain_ns = count * subject.gain_ns(candidates)
                if not subject.times:
                    found.append((gain_ns, subject, candidates))
                elif gain_ns >= least_ns:
                    found.append((gain_ns, subject, [*candidates, subject.best]))
        found.sort(key=lambda f: -f[0])
        return [(subject, candidates) for _, subject, candidates in found]

    def _digests(self, plan: Plan, step: Step, assumed: Mapping[str, Place]) -> set[str]:
        """The problem of a step, and what it was taken for when the graph was covered, before values had places."""
        problems = step.problem, Problem(plan.graph, step.region, assumed, self._target)
        for problem in problems:
            self._subject(problem)
        return {self._known.digest(problem) for problem in problems}

    def _measure(self, wave: Sequence[tuple[Subject, list[Candidate]]]) -> None:
        """Compile and time a wave in batches until the budget is spent; every problem is committed by itself."""
        todo = list(wave)
        again: set[str] = set()
        while todo:
            batch = _batch(todo, min(BATCH_TRIALS, int(self._left / max(self._trial_seconds, 1e-3))))
            begin = self._clock()
            groups = [trials for _, trials in batch]
            for (subject, trials), times in zip(batch, self._timer.time(groups), strict=True):
                digest = self._known.digest(subject.problem)
                if _disturbed(subject, trials, times) and digest not in again:
                    again.add(digest)
                    raced = [t for t, found in zip(trials, times, strict=True) if isinstance(found, Times)]
                    todo.append((subject, [(t.kernel.name, freeze(t.schedule)) for t in raced]))
                self._keep(subject, trials, times)
                self._note()
            self._trial_seconds = (self._clock() - begin) / sum(map(len, groups))
            if self._left <= 0:
                return

    def _keep(self, subject: Subject, trials: Sequence[Trial], times: Sequence[Outcome]) -> None:
        """Remember what was measured of one problem, here and in the database; of two times the shorter counts."""
        raced = {(t.kernel.name, freeze(t.schedule)): found for t, found in zip(trials, times, strict=True)}
        records = []
        digest = self._known.digest(subject.problem)
        for trial, (candidate, found) in zip(trials, raced.items(), strict=True):
            if isinstance(found, Refused):
                subject.refused.add(candidate)
                self._refused.append(f"{trial}: {found.why}")
                continue
            self._measured += candidate not in subject.times
            subject.times[candidate] = min(found.least, subject.times.get(candidate, found.least))
            predicted = trial.kernel.cost(trial.problem, trial.schedule)
            code, runs = code_digest(trial.code), len(found.runs)
            records.append(Record(digest, *candidate, code, predicted, found.least, found.median, found.spread, runs))
        features = {digest: problem_features(subject.problem)}
        self._database.insert(self._known.environment, features, records)
        self._known.insert(features, records)

    def _note(self) -> None:
        """Tell about progress; what the current plan would take counts as soon as all of its steps were measured."""
        if all(self._subject(s.problem).times for s in self._current.steps):
            now = sum(self._subject(s.problem).best_ns for s in self._current.steps)
            self._best_ns = now if self._best_ns is None else min(now, self._best_ns)
        self._progress(self._status())

    def _status(self) -> Status:
        first = [self._subject(s.problem).times.get(_candidate(s)) for s in self._first.steps]
        known = [t for t in first if t is not None]
        first_ns = sum(known) if len(known) == len(first) else None
        return Status(self._clock() - self._start, self._budget, self._measured, first_ns, self._best_ns)

    def _times(self, plan: Plan) -> dict[str, float]:
        """Time of each step: measured, or else predicted."""
        found = {}
        for step in plan.steps:
            candidate = _candidate(step)
            measured = self._subject(step.problem).times.get(candidate)
            predicted = self._subject(step.problem).predicted[candidate]
            found[step.name] = predicted if measured is None else measured
        return found


def _disturbed(subject: Subject, trials: Sequence[Trial], times: Sequence[Outcome]) -> bool:
    """Whether the best candidate so far, which ran along, took longer than before: then so did all the others."""
    for trial, found in zip(trials, times, strict=True):
        if isinstance(found, Times) and subject.times and (trial.kernel.name, freeze(trial.schedule)) == subject.best:
            return found.least > DISTURBED * subject.best_ns
    return False


def _candidate(step: Step) -> Candidate:
    return step.kernel.name, freeze(step.schedule)


def _batch(todo: list[tuple[Subject, list[Candidate]]], most: int) -> list[tuple[Subject, list[Trial]]]:
    """Trials to compile together, taken off the front: about ``most``, at least those of one problem.

    Bounded, so that their constants fit in memory.
    """
    batch: list[tuple[Subject, list[Trial]]] = []
    count = nbytes = 0
    while todo and (not batch or (count + len(todo[0][1]) <= most and nbytes < BATCH_BYTES)):
        subject, candidates = todo.pop(0)
        trials = [Trial(subject.problem, KERNELS[n], subject.spaces[n].schedules[text]) for n, text in candidates]
        batch.append((subject, trials))
        count += len(trials)
        nbytes += sum(c.nbytes for t in trials for c in t.code.constants)
    return batch
