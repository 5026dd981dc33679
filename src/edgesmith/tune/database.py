"""The database of measured kernel times: one SQLite file that survives interruption at any moment.

A record belongs to an environment (processor, target, compiler), to a problem (the digest of ``Problem.signature``) and
to a kernel with a schedule, and holds the digest of the C text that was measured: where a kernel's code changes, its
own records no longer count, and no others. Records say nothing of when or where they were made.

Merging: of two records of the same code the one with the smaller least time stays, because whatever else runs on a
machine only adds time. So records can be imported in any order, any number of times.
"""

from __future__ import annotations

import json
import lzma
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from edgesmith import knobs
from edgesmith.errors import BadInput
from edgesmith.target import Processor

__all__ = ["Database", "Environment", "Features", "Record", "default_path", "freeze", "starter"]

VERSION = 1
FORMAT = "edgesmith-times-1"
STARTER = "starter.jsonl.xz"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS environments (id INTEGER PRIMARY KEY, description TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS problems (digest TEXT PRIMARY KEY, features TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS times (
    environment INTEGER NOT NULL REFERENCES environments(id),
    problem TEXT NOT NULL REFERENCES problems(digest),
    kernel TEXT NOT NULL,
    schedule TEXT NOT NULL,
    code TEXT NOT NULL,
    predicted_ns REAL NOT NULL,
    least_ns REAL NOT NULL,
    median_ns REAL NOT NULL,
    spread REAL NOT NULL,
    runs INTEGER NOT NULL,
    PRIMARY KEY (environment, problem, kernel, schedule, code)
) WITHOUT ROWID;
"""

_MERGE = """
INSERT INTO times VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET predicted_ns = excluded.predicted_ns, least_ns = excluded.least_ns,
    median_ns = excluded.median_ns, spread = excluded.spread, runs = excluded.runs
WHERE excluded.least_ns < least_ns
"""

_MALFORMED = (ValueError, KeyError, TypeError, AttributeError, EOFError, RecursionError, lzma.LZMAError)

Features = Mapping[str, float | str]
"""What is known about a problem as numbers and words, for learning."""


@dataclass(frozen=True)
class Environment:
    """Where times are comparable.

    Args:
        target: as ``str(target)``.
        compiler: name and version.
    """

    processor: Processor
    target: str
    compiler: str

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Environment:
        """Raises ``KeyError``, ``TypeError`` or ``ValueError`` when the data has another form."""
        data = json.loads(text) if isinstance(text, str) else text
        return cls(Processor(**data["processor"]), str(data["target"]), str(data["compiler"]))

    def resembles(self, other: Environment) -> bool:
        """Whether what is fastest there is likely fastest here.

        The same target and compiler, and a processor of the same family with the same private caches.
        """
        same = (self.target, self.compiler) == (other.target, other.compiler)
        return same and self.processor.resembles(other.processor)


def freeze(schedule: Mapping[str, int]) -> str:
    """A schedule as text: equal schedules have equal texts."""
    return json.dumps(dict(schedule), sort_keys=True, separators=(",", ":"))


@dataclass(frozen=True)
class Record:
    """What one kernel took.

    Args:
        problem: digest of the problem.
        schedule: frozen.
        code: digest of the C text.
        predicted_ns: what the kernel itself had predicted.
        least_ns, median_ns: over all runs.
        spread: interquartile range over the median.
        runs: number of runs.
    """

    problem: str
    kernel: str
    schedule: str
    code: str
    predicted_ns: float
    least_ns: float
    median_ns: float
    spread: float
    runs: int


class Database:
    """Records in a file that several programs may read and write at the same time.

    Raises:
        BadInput: the file is no tuning database, is damaged, or comes from another version.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        with _explained(path):
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path or ":memory:", timeout=60, isolation_level=None)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, VERSION):
                raise BadInput(f"a tuning database of format {version}, this is {VERSION}", where=str(path))
            if version == 0:
                self._db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def insert(self, environment: Environment, features: Mapping[str, Features], records: Iterable[Record]) -> None:
        """Merge records in one transaction: all of them are kept, or, when the program ends here, none.

        Args:
            features: of each problem, by digest.
        """
        with _explained(self.path), self._transaction():
            self._merge(environment.to_json(), {d: json.dumps(f, sort_keys=True) for d, f in features.items()}, records)

    def records(self, environment: Environment) -> Iterator[Record]:
        """All records of an environment, those of a problem together."""
        with _explained(self.path):
            rows = self._db.execute(
                "SELECT problem, kernel, schedule, code, predicted_ns, least_ns, median_ns, spread, runs FROM times "
                "JOIN environments ON id = environment WHERE description = ? "
                "ORDER BY problem, kernel, schedule, code",
                (environment.to_json(),),
            )
            yield from (Record(*row) for row in rows)

    def features(self) -> dict[str, Features]:
        """The features of every problem, by digest."""
        with _explained(self.path):
            return {d: json.loads(text) for d, text in self._db.execute("SELECT digest, features FROM problems")}

    def environments(self) -> list[tuple[Environment, int, int]]:
        """Each environment with its numbers of problems and records."""
        with _explained(self.path):
            rows = self._db.execute(
                "SELECT description, COUNT(DISTINCT problem), COUNT(*) "
                "FROM times JOIN environments ON id = environment GROUP BY id ORDER BY description"
            )
            return [(Environment.from_json(text), problems, count) for text, problems, count in rows]

    def prune(self, best: int, environments: Collection[Environment] | None = None) -> int:
        """Remove all but the fastest records of each problem; returns their number.

        Args:
            best: how many to keep.
            environments: what else to remove: everything of other environments (default: nothing).
        """
        with _explained(self.path):
            with self._transaction():
                before = self._count()
                if environments is not None:
                    kept = [(e.to_json(),) for e in environments]
                    self._db.execute("CREATE TEMP TABLE kept (description TEXT PRIMARY KEY)")
                    self._db.executemany("INSERT OR IGNORE INTO kept VALUES (?)", kept)
                    foreign = "SELECT id FROM environments WHERE description NOT IN (SELECT description FROM kept)"
                    self._db.execute(f"DELETE FROM times WHERE environment IN ({foreign})")
                    self._db.execute("DROP TABLE kept")
                self._db.execute(
                    "DELETE FROM times WHERE (environment, problem, kernel, schedule, code) IN (SELECT environment, "
                    "problem, kernel, schedule, code FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY environment, "
                    "problem ORDER BY least_ns, kernel, schedule, code) AS place FROM times) WHERE place > ?)",
                    (best,),
                )
                self._db.execute("DELETE FROM problems WHERE digest NOT IN (SELECT problem FROM times)")
                self._db.execute("DELETE FROM environments WHERE id NOT IN (SELECT environment FROM times)")
                removed = before - self._count()
            self._db.execute("VACUUM")
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return removed

    def _count(self) -> int:
        return int(self._db.execute("SELECT COUNT(*) FROM times").fetchone()[0])

    def export(self, path: Path, best: int | None = None, environments: Collection[Environment] | None = None) -> int:
        """Write records as JSON lines, one line for each environment and problem; returns their number.

        Args:
            path: compressed when it ends in ``.xz``.
            best: only so many of the fastest records of each problem (default: all).
            environments: only of these (default: all).
        """
        count = 0
        part = path.with_name(f"{path.name}.part")
        wanted = None if environments is None else {e.to_json() for e in environments}
        with _explained(self.path), _open(part, "wt", path.suffix == ".xz") as file:
            file.write(json.dumps({"format": FORMAT}) + "\n")
            for environment, problem, features in self._db.execute(
                "SELECT DISTINCT description, problem, features FROM times JOIN environments ON id = environment "
                "JOIN problems ON digest = problem ORDER BY description, problem"
            ):
                if wanted is not None and environment not in wanted:
                    continue
                rows = self._db.execute(
                    "SELECT kernel, schedule, code, predicted_ns, least_ns, median_ns, spread, runs FROM times "
                    "JOIN environments ON id = environment WHERE description = ? AND problem = ? "
                    "ORDER BY least_ns, kernel, schedule, code LIMIT ?",
                    (environment, problem, -1 if best is None else best),
                ).fetchall()
                count += len(rows)
                line = {
                    "environment": json.loads(environment),
                    "problem": problem,
                    "features": json.loads(features),
                    "times": rows,
                }
                file.write(json.dumps(line, separators=(",", ":")) + "\n")
        part.replace(path)
        return count

    def load(self, path: Path, wanted: Callable[[Environment], bool] = lambda _: True) -> int:
        """Merge what ``export`` wrote, all of it or, on an error, nothing; returns the number of records read.

        Args:
            wanted: which environments to take.

        Raises:
            BadInput: a line is malformed.
        """
        count = number = 0
        with _explained(path), self._transaction():
            try:
                with _open(path, "rt", path.suffix == ".xz") as file:
                    for number, line in enumerate(file, 1):
                        data = json.loads(line)
                        if number == 1:
                            if data["format"] != FORMAT:
                                raise ValueError(f"its format is {data['format']!r}, not {FORMAT!r}")
                            continue
                        environment = Environment.from_json(data["environment"])
                        if not wanted(environment):
                            continue
                        problem = str(data["problem"])
                        records = [_record(problem, row) for row in data["times"]]
                        self._merge(environment.to_json(), {problem: _features(data["features"])}, records)
                        count += len(records)
                if number == 0:
                    raise ValueError("it is empty")
            except _MALFORMED as error:
                raise BadInput(
                    f"not exported tuning records: {error}",
                    where=f"{path}, line {max(number, 1)}",
                    hint="nothing was imported; write such a file with: edgesmith tuning export FILE",
                ) from error
        return count

    def _merge(self, environment: str, features: Mapping[str, str], records: Iterable[Record]) -> None:
        self._db.execute("INSERT OR IGNORE INTO environments (description) VALUES (?)", (environment,))
        (number,) = self._db.execute("SELECT id FROM environments WHERE description = ?", (environment,)).fetchone()
        self._db.executemany("INSERT OR IGNORE INTO problems VALUES (?, ?)", features.items())
        rows = ((number, r.problem, r.kernel, r.schedule, r.code, *_figures(r)) for r in records)
        self._db.executemany(_MERGE, rows)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")


def default_path() -> Path:
    """Where the user's database lies."""
    return knobs.CACHE_DIR() / knobs.TUNING_DB()


def starter() -> Path | None:
    """The records that come with the package, if there are any."""
    path = Path(str(resources.files("edgesmith.tune") / STARTER))
    return path if path.is_file() else None


def _figures(r: Record) -> tuple[float, float, float, float, int]:
    return r.predicted_ns, r.least_ns, r.median_ns, r.spread, r.runs


def _record(problem: str, row: Any) -> Record:
    kernel, schedule, code, predicted, least, median, spread, runs = row
    times = [float(t) for t in (predicted, least, median, spread)]
    if not all(0 <= t < float("inf") for t in times) or least <= 0:
        raise ValueError(f"times {times}")
    predicted, least, median, spread = times
    choices = json.loads(schedule)
    if not all(type(value) is int for value in choices.values()):
        raise ValueError(f"schedule {schedule}")
    return Record(problem, str(kernel), freeze(choices), str(code), predicted, least, median, spread, int(runs))


def _features(data: Any) -> str:
    if not all(isinstance(value, int | float | str) for value in data.values()):
        raise ValueError(f"features {data}")
    return json.dumps(data, sort_keys=True)


def _open(path: Path, mode: str, compressed: bool) -> Any:
    return lzma.open(path, mode, encoding="utf-8") if compressed else path.open(mode, encoding="utf-8")


@contextmanager
def _explained(path: Path | None) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise BadInput(
            f"the tuning database cannot be used: {error}",
            where=str(path or ""),
            hint=f"Remove the file, or set {knobs.TUNING_DB.name} to another one.",
        ) from error
