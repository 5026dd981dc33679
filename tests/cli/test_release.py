"""Signing, and sending differences, on the command line."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from .conftest import Run

pytestmark = pytest.mark.toolchain


def test_from_keys_to_the_patched_artifact(compiled: Path, run: Run, tmp_path: Path) -> None:
    new = Path(shutil.copytree(compiled, tmp_path / "new"))
    assert run("keys", "release").exit_code == 0
    assert run("sign", new, "--key", "release.key").exit_code == 0
    checked = run("verify", new, "--key", "release.pub")
    assert checked.exit_code == 0 and "as signed" in checked.stdout
    assert run("delta", compiled, new, "-o", "update.delta").exit_code == 0
    made = run("patch", "update.delta", compiled, "-o", "made", "--key", "release.pub")
    assert made.exit_code == 0, made.stderr
    assert run("verify", "made", "--key", "release.pub", "--json").stdout.strip().startswith("{")


def test_an_unsigned_artifact_says_what_to_do(compiled: Path, run: Run) -> None:
    assert run("keys", "release").exit_code == 0
    found = run("verify", compiled, "--key", "release.pub")
    assert found.exit_code == 2 and "edgesmith sign" in found.stderr


@pytest.mark.parametrize("words", ["keys nowhere/release", "delta {0} {0} -o nowhere/update.delta"])
def test_files_that_cannot_be_written_are_named(run: Run, compiled: Path, words: str) -> None:
    done = run(*words.format(compiled).split())
    assert done.exit_code == 2 and not Path("nowhere").exists()
    text = " ".join(done.stderr.split())
    assert f"error: {words.split()[-1].replace('release', 'release.key')}: No such file" in text
    assert "hint: there is no folder nowhere; make it, or name another" in text


def test_who_gets_an_unsigned_delta_is_not_told_to_sign_it(run: Run, compiled: Path) -> None:
    assert run("keys", "release").exit_code == 0
    assert run("delta", compiled, compiled, "-o", "update.delta").exit_code == 0
    done = run("patch", "update.delta", compiled, "-o", "made", "--key", "release.pub")
    text = " ".join(done.stderr.split())
    assert done.exit_code == 2 and "update.delta: the new artifact is refused: is not signed" in text
    assert "from who made it" in text and ".made." not in text and "edgesmith sign" not in text


@pytest.mark.parametrize(
    ("kind", "hint"), [(errno.EACCES, "change its permissions"), (errno.ENOSPC, "free some space")]
)
def test_a_folder_that_cannot_be_made_is_named_as_it_was_given(
    run: Run, compiled: Path, monkeypatch: pytest.MonkeyPatch, kind: int, hint: str
) -> None:
    assert run("delta", compiled, compiled, "-o", "update.delta").exit_code == 0

    def refuse(prefix: str, dir: Path) -> str:
        raise OSError(kind, os.strerror(kind), str(dir / f"{prefix}0tdazlwx"))

    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    done = run("patch", "update.delta", compiled, "-o", "made")
    text = " ".join(done.stderr.split())
    assert done.exit_code == 2 and f"error: made: cannot write the artifact: {os.strerror(kind)} hint: {hint}" in text


def test_a_file_in_the_place_of_a_folder_is_named(run: Run, compiled: Path) -> None:
    assert run("delta", compiled, compiled, "-o", "update.delta").exit_code == 0
    done = run("patch", "update.delta", compiled, "-o", "update.delta/made")
    text = " ".join(done.stderr.split())
    assert done.exit_code == 2 and "error: update.delta" in text
    assert "there is a file of this name" in text and "free some space" not in text


def test_keys_without_a_name(run: Run) -> None:
    done = run("keys", "")
    assert done.exit_code == 2 and "no name for keys" in done.stderr
