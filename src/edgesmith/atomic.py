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
        OSError: the folder does not exist, or the disk refuses.
    """
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        os.chmod(part, 0o644)
        os.replace(part, path)
    except BaseException:
        os.unlink(part)
        raise


def write_file(path: Path, data: bytes) -> None:
    """Replace a file by one that holds ``data``; see ``replacing_file``."""
    with replacing_file(path) as file:
        file.write(data)
