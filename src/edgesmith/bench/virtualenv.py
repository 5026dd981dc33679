"""Virtual environments with pinned packages, made when they are first needed and kept in the cache."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from edgesmith import knobs
from edgesmith.bench.worker import PeerFailed

__all__ = ["python_with"]

ALONE = "--no-deps"
_TAIL_LINES = 3


def python_with(name: str, packages: Sequence[str]) -> Path:
    """The interpreter of an environment that has ``packages``; without any, this process's own.

    The environment appears whole or not at all, under a name that says what it holds.

    Args:
        name: begins the folder's name.
        packages: pinned requirements; those behind ``--no-deps`` are installed without their dependencies.

    Raises:
        PeerFailed: a package cannot be installed.
    """
    if not packages:
        return Path(sys.executable)
    content = json.dumps([list(packages), sys.version_info[:2]])
    folder = knobs.CACHE_DIR() / "peers" / f"{name}-{hashlib.sha256(content.encode()).hexdigest()[:12]}"
    if not folder.is_dir():
        _make(folder, packages)
    return _interpreter(folder)


def _interpreter(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _make(folder: Path, packages: Sequence[str]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    end = packages.index(ALONE) if ALONE in packages else len(packages)
    try:
        _run([sys.executable, "-m", "venv", str(part)], folder.name)
        for options, wanted in ((), packages[:end]), ((ALONE,), packages[end + 1 :]):
            if wanted:
                # Wheels only: building a runtime from source would take hours and fail late.
                install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:"]
                _run([str(_interpreter(part)), *install, *options, *wanted], ", ".join(wanted))
        try:
            part.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process has made the same one meanwhile
                raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _run(command: list[str], what: str) -> None:
    limit = knobs.PEER_SECONDS()
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        hint = f"allow more: {knobs.PEER_SECONDS.name}"
        raise PeerFailed(f"installing {what} took more than {limit} s", hint=hint) from None
    if done.returncode:
        said = [s for s in (done.stderr or done.stdout).splitlines() if s.strip() and not s.startswith("WARNING")]
        raise PeerFailed(f"{what} cannot be installed: {' / '.join(said[-_TAIL_LINES:])}")
