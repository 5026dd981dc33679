"""Measured times as a cost model for the plan."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from edgesmith.kernels import KERNELS, Kernel, Problem, Schedule
from edgesmith.tune.database import Database, Environment, Features, Record, default_path, freeze, starter
from edgesmith.tune.features import code_digest, problem_digest
from edgesmith.tune.predict import Calibrated, Predictor

__all__ = ["OWN", "SIMILAR", "Measured", "MeasuredCost", "Measurements"]

OWN, SIMILAR = "measured here", "measured on a similar machine"
SOURCES = (OWN, SIMILAR)


@dataclass(frozen=True)
class Measured:
    """A record and where it comes from: ``OWN`` or ``SIMILAR``."""

    record: Record
    source: str

    @property
    def key(self) -> tuple[str, str]:
        return self.record.kernel, self.record.schedule


class Measurements:
    """What is known in one environment: its own records, and where a problem has none those of similar machines.

    Args:
        own, similar: records of the two sources.
        features: of their problems, by digest.
    """

    def __init__(
        self,
        environment: Environment,
        own: Iterable[Record] = (),
        similar: Iterable[Record] = (),
        features: Mapping[str, Features] | None = None,
    ) -> None:
        self.environment = environment
        self.features = dict(features or {})
        self._known: dict[str, dict[str, dict[tuple[str, str, str], Record]]] = {source: {} for source in SOURCES}
        self._codes: dict[tuple[str, frozenset[str], str, str], str] = {}
        self._digests: WeakKeyDictionary[Problem, str] = WeakKeyDictionary()
        for source, records in ((OWN, own), (SIMILAR, similar)):
            for record in records:
                self._insert(source, record)

    @classmethod
    def open(cls, environment: Environment, database: Database | None = None) -> Measurements:
        """The records of the user's database and of the package.

        Args:
            database: the user's (default: the one at the default path, if there is one).
        """
        found = cls(environment)
        if database is not None:
            found._read(database)
        elif default_path().is_file():
            with Database(default_path()) as users:
                found._read(users)
        shipped = starter()
        if shipped is not None:
            with Database() as package:
                package.load(shipped, environment.resembles)
                found._read(package)
        return found

    def _read(self, database: Database) -> None:
        self.features = {**database.features(), **self.features}
        for other, _, _ in database.environments():
            if other == self.environment:
                source = OWN if database.path else SIMILAR
            elif self.environment.resembles(other):
                source = SIMILAR
            else:
                continue
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
        if kernel is None or kernel.accepts(problem) is not None:
            return ""
        schedule = next((s for s in kernel.schedules(problem) if freeze(s) == record.schedule), None)
        return "" if schedule is None else code_digest(kernel.emit(problem, schedule))


class MeasuredCost:
    """Cost model of measured times.

    Where a problem has measurements, its other candidates are out of the question; where it has none, predictions
    count. At least one candidate of every problem has a finite time.

    Args:
        predictor: for problems without measurements (default: the kernels' own model, calibrated).
        only: names of the kernels that will be considered (default: all).
        optimism: how many times its uncertainty a prediction is taken better than it is.
        sources: of measurements, as for ``Measurements.of``.
    """

    def __init__(
        self,
        measurements: Measurements,
        predictor: Predictor | None = None,
        only: frozenset[str] | None = None,
        optimism: float = 0.0,
        sources: Sequence[str] = SOURCES,
    ) -> None:
        self.measurements = measurements
        self._predictor = predictor or Calibrated(measurements.records())
        self._only, self._sources = only, sources
        self._favour = math.exp(-optimism * self._predictor.uncertainty)
        self._times: WeakKeyDictionary[Problem, dict[tuple[str, str], float]] = WeakKeyDictionary()
        self._predicted: dict[tuple[str, str], dict[str, float]] = {}

    def __call__(self, kernel: Kernel, problem: Problem, schedule: Schedule) -> float:
        times = self._times.get(problem)
        if times is None:
            found = self.measurements.of(problem, self._only, self._sources)
            times = self._times[problem] = {m.key: m.record.least_ns for m in reversed(found)}
        text = freeze(schedule)
        if times:
            return times.get((kernel.name, text), float("inf"))
        return self.predicted_ns(kernel, problem)[text] * self._favour

    def predicted_ns(self, kernel: Kernel, problem: Problem) -> Mapping[str, float]:
        """Predicted time of every schedule."""
        key = self.measurements.digest(problem), kernel.name
        if key not in self._predicted:
            schedules = kernel.schedules(problem)
            times = self._predictor.predict_ns(kernel, problem, schedules)
            self._predicted[key] = {freeze(s): float(t) for s, t in zip(schedules, times, strict=True)}
        return self._predicted[key]
