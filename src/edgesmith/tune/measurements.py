"""Measured times as a cost model for the plan."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from weakref import WeakKeyDictionary

from edgesmith.kernels import KERNELS, Kernel, Problem, Schedule, refusal
from edgesmith.tune.database import Database, Environment, Features, Record, default_path, freeze, starter
from edgesmith.tune.features import code_digest, problem_digest
from edgesmith.tune.predict import Calibrated, Candidates, Predictor

__all__ = ["MODELLED", "OWN", "SIMILAR", "Measured", "MeasuredCost", "Measurements", "Predictions"]

OWN, SIMILAR, MODELLED = "measured here", "measured on a similar machine", "of a model of the core"
SOURCES = (OWN, SIMILAR, MODELLED)


@dataclass(frozen=True)
class Measured:
    """A record and where it comes from: one of ``SOURCES``."""

    record: Record
    source: str

    @property
    def key(self) -> tuple[str, str]:
        return self.record.kernel, self.record.schedule


class Measurements:
    """What is known in one environment: its own records, and where a problem has none those of similar machines.

    Where these have none either, times of a model of the core count.

    Args:
        own, similar: records of the first two sources.
        model: environment of the third.
        features: of their problems, by digest.
    """

    def __init__(
        self,
        environment: Environment,
        own: Iterable[Record] = (),
        similar: Iterable[Record] = (),
        features: Mapping[str, Features] | None = None,
        model: Environment | None = None,
    ) -> None:
        self.environment, self._model = environment, model
        self.features = dict(features or {})
        self._known: dict[str, dict[str, dict[tuple[str, str, str], Record]]] = {source: {} for source in SOURCES}
        self.spaces: dict[tuple[str, str], Candidates] = {}
        self._codes: dict[tuple[str, frozenset[str], str, str], str] = {}
        self._digests: WeakKeyDictionary[Problem, str] = WeakKeyDictionary()
        for source, records in ((OWN, own), (SIMILAR, similar)):
            for record in records:
                self._insert(source, record)

    @classmethod
    def open(
        cls, environment: Environment, database: Database | None = None, model: Environment | None = None
    ) -> Measurements:
        """The records of the user's database and of the package.

        Args:
            database: the user's (default: the one at the default path, if there is one).
            model: environment of the times of a model of the core (default: they do not count).
        """
        found = cls(environment, model=model)
        if database is not None:
            found._read(database, OWN)
        elif default_path().is_file():
            with Database(default_path()) as users:
                found._read(users, OWN)
        shipped = starter()
        if shipped is not None:
            with Database() as package:
                package.load(shipped, found._counts)
                found._read(package, SIMILAR)
        return found

    def _counts(self, other: Environment) -> bool:
        return self.environment.resembles(other) or (self._model is not None and self._model.resembles(other))

    def _read(self, database: Database, exact: str) -> None:
        """Take what counts here; ``exact`` is the source of records of this very environment."""
        self.features = {**database.features(), **self.features}
        for other, _, _ in database.environments():
            if self._counts(other):
                similar = SIMILAR if self.environment.resembles(other) else MODELLED
                source = exact if other == self.environment else similar
                for record in database.records(other):
                    self._insert(source, record)

    def insert(self, features: Mapping[str, Features], records: Iterable[Record]) -> None:
        """Add what was measured here."""
        self.features.update(features)
        for record in records:
            self._insert(OWN, record)

    def _insert(self, source: str, record: Record) -> None:
        known = self._known[source].setdefault(record.problem, {})
        key = record.kernel, record.schedule, record.code
        if key not in known or record.least_ns < known[key].least_ns:
            known[key] = record

    def records(self, sources: Sequence[str] = SOURCES) -> list[Record]:
        """Everything known from some sources."""
        return [r for source in sources for known in self._known[source].values() for r in known.values()]

    @property
    def state(self) -> str:
        """Digest of everything known: equal states make equal choices."""
        lines = sorted(f"{source} {r}" for source in SOURCES for r in self.records((source,)))
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def digest(self, problem: Problem) -> str:
        found = self._digests.get(problem)
        if found is None:
            found = self._digests[problem] = problem_digest(problem)
        return found

    def candidates(self, kernel: Kernel, problem: Problem) -> Candidates:
        """The tuning space of a kernel that accepts the problem; made once for equal problems."""
        key = self.digest(problem), kernel.name
        if key not in self.spaces:
            self.spaces[key] = Candidates.of(kernel, problem)
        return self.spaces[key]

    def times(self, problem: Problem, only: frozenset[str] | None = None) -> dict[tuple[str, str], float]:
        """Least time of every measured candidate of a problem in nanoseconds on this machine."""
        found = self.of(problem, only)
        factor = self._similar_factor if found and found[0].source == SIMILAR else 1.0
        return {m.key: m.record.least_ns * factor for m in reversed(found)}

    @cached_property
    def _similar_factor(self) -> float:
        """How many times as long a candidate takes here as on similar machines; 1 where nothing is known of both."""
        ratios = [
            mine.least_ns / theirs.least_ns
            for problem, known in self._known[OWN].items()
            for key, mine in known.items()
            if (theirs := self._known[SIMILAR].get(problem, {}).get(key))
        ]
        return median(ratios) if ratios else 1.0

    def of(
        self, problem: Problem, only: frozenset[str] | None = None, sources: Sequence[str] = SOURCES
    ) -> list[Measured]:
        """The measured candidates of a problem, fastest first.

        The first one is valid: its kernel still takes the problem with this schedule and emits the code that was
        measured. Slower ones are not checked.

        Args:
            only: names of the kernels to consider (default: all).
            sources: where to look, in this order; the first that has any counts.
        """
        for source in sources:
            found = self._ranked(source, problem, only)
            while found and not self._is_valid(problem, found[0]):
                found.pop(0)
            if found:
                return [Measured(r, source) for r in found]
        return []

    def _ranked(self, source: str, problem: Problem, only: frozenset[str] | None) -> list[Record]:
        known = self._known[source].get(self.digest(problem), {}).values()
        allowed = [r for r in known if only is None or r.kernel in only]
        return sorted(allowed, key=lambda r: (r.least_ns, r.kernel, r.schedule))

    def _is_valid(self, problem: Problem, record: Record) -> bool:
        place = self.digest(problem), problem.region.names, record.kernel, record.schedule
        if place not in self._codes:
            self._codes[place] = self._code(problem, record)
        return self._codes[place] == record.code

    def _code(self, problem: Problem, record: Record) -> str:
        """Digest of the code that a record's kernel emits today; empty when it does not take the problem."""
        kernel = KERNELS.get(record.kernel)
        if kernel is None or refusal(kernel, problem) is not None:
            return ""
        schedule = next((s for s in kernel.schedules(problem) if freeze(s) == record.schedule), None)
        return "" if schedule is None else code_digest(kernel.emit(problem, schedule))


class MeasuredCost:
    """Cost model of measured times, by which a network is compiled.

    Where a problem has measurements, its other candidates are out of the question; where it has none, the kernels' own
    predictions count, calibrated, and taken worse than they are: what was measured is preferred. At least one candidate
    of every problem has a finite time.

    Args:
        only: names of the kernels that will be considered (default: all).
    """

    def __init__(self, measurements: Measurements, only: frozenset[str] | None = None) -> None:
        self._measurements, self._only = measurements, only
        self._predicted = Predictions(measurements, Calibrated(measurements.records()))
        self._penalty = math.exp(self._predicted.uncertainty)
        self._times: WeakKeyDictionary[Problem, dict[tuple[str, str], float]] = WeakKeyDictionary()

    def __call__(self, kernel: Kernel, problem: Problem, schedule: Schedule) -> float:
        times = self._times.get(problem)
        if times is None:
            times = self._times[problem] = self._measurements.times(problem, self._only)
        text = freeze(schedule)
        if times:
            return times.get((kernel.name, text), float("inf"))
        return self._predicted(kernel, problem)[text] * self._penalty


class Predictions:
    """What a predictor says of the candidates that some measurements know about, all of them at once."""

    def __init__(self, measurements: Measurements, predictor: Predictor) -> None:
        self._measurements, self._predictor = measurements, predictor
        self._times: dict[tuple[str, str], dict[str, float]] = {}

    @property
    def uncertainty(self) -> float:
        return self._predictor.uncertainty

    def __call__(self, kernel: Kernel, problem: Problem) -> Mapping[str, float]:
        """Time in nanoseconds of every schedule, by its frozen text."""
        self._measurements.candidates(kernel, problem)
        key = self._measurements.digest(problem), kernel.name
        if key not in self._times:
            spaces = {k: c for k, c in self._measurements.spaces.items() if k not in self._times}
            predicted = self._predictor.predict_ns(list(spaces.values()))
            for (k, c), times in zip(spaces.items(), predicted, strict=True):
                self._times[k] = dict(zip(c.schedules, map(float, times), strict=True))
        return self._times[key]
