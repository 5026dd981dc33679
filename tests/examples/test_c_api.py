"""The C program in examples/c_api: builds against an artifact and classifies as ONNX Runtime does."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import edgesmith
from edgesmith.oracle import Oracle

pytestmark = pytest.mark.toolchain

EXAMPLES = Path(__file__).parents[2] / "examples"
MODEL = EXAMPLES / "digits" / "digits.onnx"
PICTURE = EXAMPLES / "c_api" / "seven.pgm"
COMPILERS = [c for c in ("gcc", "clang") if shutil.which(c)]


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("c_api") / "digits"
    return edgesmith.compile(MODEL, output=folder, name="digits", verify=False).path


@pytest.fixture(params=COMPILERS or [pytest.param("cc", marks=pytest.mark.skip(reason="no gcc, no clang"))])
def programs(request: pytest.FixtureRequest, artifact: Path, tmp_path: Path) -> list[Path]:
    make = ["make", "-C", str(EXAMPLES / "c_api"), f"ARTIFACT={artifact}", f"BUILD={tmp_path}", f"CC={request.param}"]
    subprocess.run(make, check=True, capture_output=True, text=True)
    return [tmp_path / "classify", tmp_path / "classify-shared"]


def test_scores_are_those_of_onnx_runtime(programs: list[Path]) -> None:
    values = [int(n) for n in PICTURE.read_text().split()[1:]]
    width, height, top = values[:3]
    image = (np.array(values[3:], np.float32) / top).reshape(1, 1, height, width)
    expected = Oracle(str(MODEL)).run({"image": image})["logits"][0]
    for program in programs:
        printed = subprocess.run([program, PICTURE], check=True, capture_output=True, text=True).stdout
        scores = [float(score) for score in re.findall(r"^\d: +(-?[\d.]+)$", printed, re.MULTILINE)]
        assert np.abs(np.array(scores) - expected).max() < 1e-3
        assert f"digit: {expected.argmax()}" in printed


def test_what_is_no_picture_is_refused(programs: list[Path], tmp_path: Path) -> None:
    bad = tmp_path / "bad.pgm"
    bad.write_text("P2\n8 8\n16\n1 2 3\n")
    done = subprocess.run([programs[0], bad], capture_output=True, text=True)
    assert done.returncode == 1
    assert "not a text PGM" in done.stderr
