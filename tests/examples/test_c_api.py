"""The C program in examples/c_api: builds against an artifact and classifies as ONNX Runtime does."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import EXAMPLES

pytestmark = pytest.mark.toolchain

COMPILERS = [c for c in ("gcc", "clang") if shutil.which(c)]


@pytest.fixture(params=COMPILERS or [pytest.param("cc", marks=pytest.mark.skip(reason="no gcc, no clang"))])
def programs(request: pytest.FixtureRequest, artifact: Path, tmp_path: Path) -> list[Path]:
    make = ["make", "-C", str(EXAMPLES / "c_api"), f"ARTIFACT={artifact}", f"BUILD={tmp_path}", f"CC={request.param}"]
    subprocess.run(make, check=True, capture_output=True, text=True)
    return [tmp_path / "classify", tmp_path / "classify-shared"]


def test_scores_are_those_of_onnx_runtime(
    programs: list[Path], picture: Path, check_scores: Callable[[str], None]
) -> None:
    for program in programs:
        check_scores(subprocess.run([program, picture], check=True, capture_output=True, text=True).stdout)


def test_what_is_no_picture_is_refused(programs: list[Path], tmp_path: Path) -> None:
    bad = tmp_path / "bad.pgm"
    bad.write_text("P2\n8 8\n16\n1 2 3\n")
    done = subprocess.run([programs[0], bad], capture_output=True, text=True)
    assert done.returncode == 1
    assert "not a text PGM" in done.stderr
