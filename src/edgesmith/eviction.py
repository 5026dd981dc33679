"""Folders of the cache that keep to a size: the entries, files or folders, that were used longest ago leave."""

from __future__ import annotations

import contextlib
import json
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from edgesmith import knobs

__all__ = ["INDEX", "evict", "nbytes", "remove"]

INDEX = "entry.json"
"""What an entry says about itself, where it does."""
STALE_SECONDS = 24 * 3600.0
"""Age at which an unfinished entry, whose name begins with a dot, is what a killed process left."""


def evict(root: Path, newest: str, idle_seconds: float = 0.0) -> None:
    """Remove the entries of a folder used longest ago, by their modification times, beyond ``EDGESMITH_CACHE_MB``.

    Several processes may do so at once. An entry vanishes as a whole; who is reading it finds files missing.

    Args:
        newest: stays even if it alone is too large.
        idle_seconds: entries used within this time stay too.
    """
    limit, now, total = knobs.CACHE_MB() << 20, time.time(), 0
    for used, size, entry in sorted(_entries(root), reverse=True):
        total += size
        if total > limit and entry.name != newest and now - used >= idle_seconds:
            remove(entry)


def _entries(root: Path) -> Iterator[tuple[float, int, Path]]:
    """Time of last use, bytes and path of each entry; what killed processes left unfinished goes."""
    for entry in root.iterdir():
        with contextlib.suppress(OSError):
            found = entry.stat()
            if not entry.name.startswith("."):
                size = found.st_size if stat.S_ISREG(found.st_mode) else _recorded_bytes(entry)
                yield found.st_mtime, size, entry
            elif time.time() - found.st_mtime > STALE_SECONDS:
                remove(entry)


def _recorded_bytes(entry: Path) -> int:
    """Bytes of a folder: artifacts record it, so that their files need not be looked at."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        return int(json.loads((entry / INDEX).read_text())["bytes"])
    return nbytes(entry)


def nbytes(folder: Path) -> int:
    """Size of all files of a folder."""
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


def remove(entry: Path) -> None:
    """Remove an entry, if there is one, so that no process finds a part of it."""
    with contextlib.suppress(OSError):
        gone = Path(tempfile.mkdtemp(prefix=".gone.", dir=entry.parent))
        with contextlib.suppress(OSError):
            entry.rename(gone / entry.name)
        shutil.rmtree(gone, ignore_errors=True)
