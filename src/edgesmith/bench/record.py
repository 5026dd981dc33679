"""What a suite measured, as a file that is written after every network."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgesmith.bench.compare import Comparison
from edgesmith.errors import BadInput
from edgesmith.target import Machine

__all__ = ["Record", "Result", "Settings"]

FORMAT = 1


@dataclass(frozen=True)
class Settings:
    """What decides whether two measurements belong into one table.

    Args:
        suite: its name.
        about: what it is, in a sentence.
        per_image: whether batches are compared with one another.
        against: names of the peers.
        tune: how the networks were compiled.
        processor: of the machine.
    """

    suite: str
    about: str
    per_image: bool
    against: tuple[str, ...]
    rounds: int
    tune: str
    processor: str

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "against": list(self.against)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Settings:
        return cls(**{**data, "against": tuple(data["against"])})


@dataclass(frozen=True)
class Result:
    """One network with one number of threads.

    Args:
        network: the zoo's name.
        batch: images in a run.
        comparison: times and errors of all runtimes.
        program: sizes of our program, and the digest of its outputs; see ``suite_run.describe_program``.
        layers: our program step by step; see ``suite_run.describe_layers``.
    """

    network: str
    batch: int
    comparison: Comparison
    program: dict[str, Any]
    layers: list[dict[str, Any]]

    @property
    def name(self) -> str:
        return self.network if self.batch == 1 else f"{self.network}@{self.batch}"

    @property
    def threads(self) -> int:
        return self.comparison.threads

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "comparison": self.comparison.to_json()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Result:
        return cls(**{**data, "comparison": Comparison.from_json(data["comparison"])})


@dataclass
class Record:
    """A suite's results, each saved when it is added.

    Args:
        file: where they are kept.
        command: what measures them again.
        environment: machine, load and versions when it began.
        machines: measured peak rates by number of threads.
    """

    file: Path
    settings: Settings
    command: str
    environment: dict[str, Any]
    machines: dict[int, Machine] = field(default_factory=dict)
    results: list[Result] = field(default_factory=list)

    @classmethod
    def open(cls, file: Path, settings: Settings, command: str, environment: dict[str, Any]) -> Record:
        """The record in ``file``, to go on with; an empty one where there is none.

        Raises:
            BadInput: the file holds something else, or was measured with other settings.
        """
        if not file.exists():
            return cls(file, settings, command, environment)
        found = cls.load(file)
        if found.settings != settings:
            before, after = vars(found.settings), vars(settings)
            changed = ", ".join(f"{k} {before[k]!r} instead of {after[k]!r}" for k in before if before[k] != after[k])
            raise BadInput(
                f"was measured with {changed}", where=str(file), hint="begin again with --fresh, or give another -o"
            )
        return found

    @classmethod
    def load(cls, file: Path) -> Record:
        """Read a file.

        Raises:
            BadInput: it holds something else.
        """
        try:
            data = json.loads(file.read_text())
            if data["format"] != FORMAT:
                raise ValueError(f"format {data['format']}")
            return cls(
                file,
                Settings.from_json(data["settings"]),
                data["command"],
                data["environment"],
                {int(n): Machine.from_json(m) for n, m in data["machines"].items()},
                [Result.from_json(r) for r in data["results"]],
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BadInput(
                f"holds no results of a suite ({type(error).__name__}: {error})",
                where=str(file),
                hint="begin again with --fresh, or give another -o",
            ) from error

    def has(self, name: str, threads: int) -> bool:
        return any(r.name == name and r.threads == threads for r in self.results)

    def add(self, result: Result) -> None:
        """Add a result and save."""
        self.results.append(result)
        self.save()

    def save(self) -> None:
        """Write the file; it is replaced as a whole."""
        data = {
            "format": FORMAT,
            "command": self.command,
            "settings": self.settings.to_json(),
            "environment": self.environment,
            "machines": {n: m.to_json() for n, m in self.machines.items()},
            "results": [r.to_json() for r in self.results],
        }
        self.file.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=self.file.parent, prefix=f".{self.file.name}.")
        try:
            with os.fdopen(handle, "w") as stream:
                stream.write("".join(_lines(data)) + "\n")
            os.chmod(part, 0o644)
            os.replace(part, self.file)
        except BaseException:
            os.unlink(part)
            raise


def _lines(value: Any, depth: int = 0) -> Iterator[str]:
    """JSON whose innermost lists and objects take one line each: short enough to read, and to compare by lines."""
    parts = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    if not any(isinstance(v, dict | list) and v for _, v in parts):
        yield json.dumps(value)
        return
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    yield opening
    for i, (key, part) in enumerate(parts):
        yield ("," if i else "") + "\n" + " " * (depth + 1)
        if isinstance(value, dict):
            yield f"{json.dumps(str(key))}: "
        yield from _lines(part, depth + 1)
    yield "\n" + " " * depth + closing
