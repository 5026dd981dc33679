"""Building the C runtime for tests."""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import edgesmith

RUNTIME = Path(edgesmith.__file__).parent / "codegen" / "runtime"
SOURCES = Path(__file__).parent / "runtime"
COMPILERS = {"gcc": ["gcc"], "clang": ["clang"], "zig": [sys.executable, "-m", "ziglang", "cc"]}
STRICT = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Werror"]


@functools.cache
def missing(compiler: str, sanitizers: tuple[str, ...]) -> str:
    """Why the compiler cannot make and run a program with these sanitizer options; empty when it can."""
    if shutil.which(COMPILERS[compiler][0]) is None:
        return f"{compiler} is not installed"
    if not sanitizers:
        return ""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "empty"
        command = [*COMPILERS[compiler], *sanitizers, "-x", "c", "-", "-o", str(program)]
        built = subprocess.run(command, input=b"int main(void) { return 0; }", capture_output=True).returncode == 0
        works = built and subprocess.run([program], capture_output=True).returncode == 0
    return "" if works else f"{compiler} {' '.join(sanitizers)} does not work on this machine"


def compiled(folder: Path, files: Sequence[str | Path], options: Sequence[str] = (), compiler: str = "gcc") -> Path:
    """A program in ``folder`` from C files of it, of the runtime or of its tests; skips without the compiler."""
    folders = (folder, SOURCES, RUNTIME)
    reason = missing(compiler, tuple(option for option in options if option.startswith("-fsanitize=")))
    if reason:
        pytest.skip(reason)
    program = folder / "program"
    found = [str(next(folder / file for folder in folders if (folder / file).exists())) for file in files]
    include = [f"-I{folder}" for folder in folders]
    result = subprocess.run(
        [*COMPILERS[compiler], *STRICT, *options, *include, *found, "-pthread", "-o", str(program)],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return program


@pytest.fixture(scope="session")
def build_in() -> Callable[..., Path]:
    return compiled


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., Path]:
    """``compiled`` in tmp_path."""
    return functools.partial(compiled, tmp_path)
