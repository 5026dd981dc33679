"""Building the C runtime for tests."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import edgesmith

RUNTIME = Path(edgesmith.__file__).parent / "codegen" / "runtime"
SOURCES = Path(__file__).parent / "runtime"
COMPILERS = {"gcc": ["gcc"], "clang": ["clang"], "zig": [sys.executable, "-m", "ziglang", "cc"]}
STRICT = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Werror"]


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., Path]:
    """Compiles C files of tmp_path, tests/codegen/runtime or the runtime itself; skips when the compiler is absent."""
    folders = (tmp_path, SOURCES, RUNTIME)

    def compile_program(files: Sequence[str | Path], options: Sequence[str] = (), compiler: str = "gcc") -> Path:
        command = COMPILERS[compiler]
        if shutil.which(command[0]) is None:
            pytest.skip(f"{compiler} is not installed")
        program = tmp_path / "program"
        found = [str(next(folder / file for folder in folders if (folder / file).exists())) for file in files]
        include = [f"-I{folder}" for folder in folders]
        result = subprocess.run(
            [*command, *STRICT, *options, *include, *found, "-pthread", "-o", str(program)],
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, result.stderr
        return program

    return compile_program
