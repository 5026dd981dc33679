"""The programs in examples/cpp and examples/rust: built as their pages say, they classify as ONNX Runtime does."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import EXAMPLES

pytestmark = pytest.mark.toolchain


def run(*command: object, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **variables}
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, env=environment)


def built(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(not shutil.which("cmake") or not shutil.which("c++"), reason="needs cmake and a C++ compiler")
def test_cpp(artifact: Path, tmp_path: Path, picture: Path, check_scores: Callable[[str], None]) -> None:
    """CMake finds the artifact as a package, also when it was moved."""
    moved = shutil.copytree(artifact, tmp_path / "moved here")
    package = f"-Ddigits_DIR={moved}/lib/cmake/digits"
    built(run("cmake", "-S", EXAMPLES / "cpp", "-B", tmp_path / "build", package, "-DCMAKE_CXX_FLAGS=-Werror"))
    built(run("cmake", "--build", tmp_path / "build"))
    for program in ("classify", "classify-shared"):
        check_scores(run(tmp_path / "build" / program, picture).stdout)
    bad = run(tmp_path / "build" / "classify", EXAMPLES / "cpp" / "README.md")
    assert bad.returncode == 1 and "not a text PGM" in bad.stderr


@pytest.mark.skipif(not shutil.which("cargo"), reason="needs Rust")
def test_rust(artifact: Path, tmp_path: Path, picture: Path, check_scores: Callable[[str], None]) -> None:
    project = shutil.copytree(EXAMPLES / "rust", tmp_path / "rust")
    command = ("cargo", "run", "--quiet", "--offline", "--manifest-path", project / "Cargo.toml")
    missing = run(*command, ARTIFACT=str(tmp_path / "nowhere"))
    assert missing.returncode and "libdigits.a is missing; make it: edgesmith compile" in missing.stderr
    done = run(*command, "--", picture, ARTIFACT=str(artifact), RUSTFLAGS="-D warnings")
    built(done)
    check_scores(done.stdout)
    bad = run(*command, "--", project / "README.md", ARTIFACT=str(artifact), RUSTFLAGS="-D warnings")
    assert bad.returncode == 1 and "not a text PGM" in bad.stderr
