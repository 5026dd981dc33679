"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

__all__ = ["replacing_file", "write_file"]


@contextmanager
def replacing_file(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of ``path`` when the block succeeds and vanishes when it fails.

    Raises:
        OSError: the folder does not exist, or the disk refuses; it names ``path``.
    """
    with _named(path):
        handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with _named(path, part), os.fdopen(handle, "wb") as file:
            yield file
        with _named(path, part):
            os.chmod(part, 0o644)
            os.replace(part, path)
    except BaseException:
        os.unlink(part)
        raise


@contextmanager
def _named(path: Path, part: str = "") -> Iterator[None]:
    """Errors name the file that was to be written, not the one that stands in for it."""
    try:
        yield
    except OSError as error:
        if not part or error.filename in (None, part):
            error.filename, error.filename2 = str(path), None
        raise


def write_file(path: Path, data: bytes) -> None:
    """Replace a file by one that holds ``data``; see ``replacing_file``."""
    with replacing_file(path) as file:
        file.write(data)
