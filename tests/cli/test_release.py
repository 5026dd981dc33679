"""Signing, and sending differences, on the command line."""

from __future__ import annotations

import shutil
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
