"""Finished stages by content: a folder each, which appears whole or not at all."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from edgesmith.atomic import write_file
from edgesmith.errors import BadInput

__all__ = ["MODEL", "RECORD", "STATE", "Store", "digest_of", "source_digest"]

RECORD, STATE, MODEL = "stage.json", "state.pt", "model.onnx"
DECISIVE = (
    *("compress", "quantize", "passes", "zoo", "frontend", "preprocess.py", "pipeline/quantizer.py", "chain/stages"),
    *(f"chain/{name}.py" for name in ("costs", "data", "learning", "models", "shrinking")),
)
"""Of this package, what decides what a stage makes."""


class Store:
    """The folder ``stages`` of an output folder."""

    def __init__(self, output: Path) -> None:
        self.folder = output / "stages"

    @contextmanager
    def alone(self) -> Iterator[None]:
        """No other process works in the folder within the block; the system ends a killed process's claim. Not on
        Windows, where there is no ``flock``.

        Raises:
            BadInput: another one does, or the folder cannot be made.
        """
        file = self.folder / ".lock"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            opened = open(file, "w")  # noqa: SIM115, held within the block below
        except OSError as error:
            hint = "choose another folder"
            raise BadInput(f"cannot be made: {error.strerror}", where=str(self.folder), hint=hint) from error
        with opened:
            if sys.platform != "win32":
                import fcntl

                try:
                    fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError as error:
                    hint = "wait for it, or choose another folder: -o"
                    raise BadInput("another process is at work there", where=str(self.folder), hint=hint) from error
            yield

    def place(self, index: int, method: str, digest: str) -> Path:
        return self.folder / f"{index:02}-{method}-{digest[:12]}"

    def record(self, place: Path) -> dict[str, Any] | None:
        """What a finished stage wrote down; None where it is not finished."""
        try:
            found = json.loads((place / RECORD).read_text())
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def begun(self, place: Path) -> Path:
        """The folder of a stage that is not finished; what an interrupted run left is in it.

        Raises:
            BadInput: it cannot be made.
        """
        part = place.with_name(f"{place.name}.part")
        try:
            part.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadInput(
                f"cannot be made: {error.strerror}", where=str(part), hint="choose another folder"
            ) from error
        return part

    def finish(self, part: Path, place: Path, record: Mapping[str, Any]) -> None:
        """Make the folder of a stage the finished one."""
        write_file(part / RECORD, (json.dumps(record, indent=1) + "\n").encode())
        if place.exists():
            shutil.rmtree(place)
        part.rename(place)


def digest_of(*parts: Any) -> str:
    """SHA-256 of data."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


@cache
def source_digest() -> str:
    """Of the code that stages run: another version of a method makes another network."""
    sha = hashlib.sha256()
    root = Path(str(resources.files("edgesmith")))
    for part in DECISIVE:
        path = root / part
        files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
        for file in files:
            sha.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    return sha.hexdigest()
