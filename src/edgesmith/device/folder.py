"""Artifact folders appear whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgesmith.device.artifact import MANIFEST
from edgesmith.errors import ArtifactError, next_step

__all__ = ["FAILED", "failed_folder", "replacing"]

FAILED = "VERIFICATION_FAILED"
"""A file that marks a folder of evidence, which the next failure may replace."""


def failed_folder(output: Path) -> Path:
    """Where the evidence goes when the program for ``output`` fails its verification."""
    return output.with_name(f"{output.name}.failed")


@contextmanager
def replacing(output: Path) -> Iterator[Path]:
    """A fresh folder that takes the place of ``output`` when the block succeeds and vanishes when it fails.

    Raises:
        ArtifactError: ``output`` is something else than an artifact, or the disk refuses.
    """
    try:
        _refuse_foreign(output)
        output.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
    except OSError as error:
        raise _unwritable(error, output) from error
    try:
        yield fresh
        if fresh.exists():
            _swap(fresh, output)
    except OSError as error:
        raise _unwritable(error, output) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _refuse_foreign(output: Path) -> None:
    ours = (output / MANIFEST).is_file() or (output / FAILED).is_file()
    if output.exists() and not ours and (not output.is_dir() or any(output.iterdir())):
        raise ArtifactError(
            "exists and holds no artifact; it is left alone", where=str(output), hint="choose another folder with -o"
        )


def _swap(fresh: Path, output: Path) -> None:
    umask = os.umask(0)
    os.umask(umask)
    fresh.chmod(0o777 & ~umask)
    if not output.exists():
        fresh.rename(output)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{output.name}.old.", dir=output.parent))
    try:
        output.rename(old / "artifact")
        try:
            fresh.rename(output)
        except BaseException:
            (old / "artifact").rename(output)
            raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


def _unwritable(error: OSError, output: Path) -> ArtifactError:
    hint = next_step(error) or "choose another folder"
    return ArtifactError(
        f"cannot write the artifact: {error.strerror or error}",
        where=str(_known(Path(str(error.filename)), output) if error.filename else output),
        hint=f"{hint}; what was there before is untouched",
    )


def _known(file: Path, output: Path) -> Path:
    """A file by the name that users know, where it lies in a folder that stands in for ``output``."""
    try:
        first, *rest = file.relative_to(output.parent).parts
    except ValueError:
        return file
    return output.joinpath(*rest) if first.startswith(f".{output.name}.") else file
