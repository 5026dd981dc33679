"""The module of examples/browser: in Node it classifies as ONNX Runtime does."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import edgesmith

from .conftest import EXAMPLES, MODEL

NODE = shutil.which("node")
PROGRAM = EXAMPLES / "browser" / "classify.mjs"

pytestmark = [pytest.mark.toolchain, pytest.mark.skipif(NODE is None, reason="no node")]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browser") / "digits"
    target = "wasm32-wasi+simd128"
    return edgesmith.compile(MODEL, target=target, output=folder, name="digits", tune="off", cache=False).library


def classify(*files: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(NODE), PROGRAM, *files], capture_output=True, text=True)


def test_scores_are_those_of_onnx_runtime(library: Path, picture: Path, check_scores: Callable[[str], None]) -> None:
    done = classify(library, picture)
    assert done.returncode == 0, done.stderr
    check_scores(done.stdout)
    assert "input image: 1 1 8 8" in done.stdout


def test_wrong_input_is_named(library: Path, tmp_path: Path) -> None:
    small = tmp_path / "small.pgm"
    small.write_text("P2 1 1 16 3")
    assert "input image has 1 elements, the model takes 64" in classify(library, small).stderr
    assert "no such file" in classify(library, tmp_path / "none.pgm").stderr
    assert "usage" in classify(library).stderr
