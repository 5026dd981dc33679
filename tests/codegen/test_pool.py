"""The generated program's thread pool, under normal builds and sanitizers."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Build = Callable[..., Path]

pytestmark = [pytest.mark.toolchain, pytest.mark.timeout(120)]

BUILDS = {
    "gcc": ("gcc", ["-O2", "-Wconversion"]),
    "clang": ("clang", ["-O2"]),
    "zig": ("zig", ["-O2"]),
    "always-sleeps": ("gcc", ["-O2", "-DES_POOL_SPIN_NS=0"]),
    "asan-ubsan": ("gcc", ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]),
    "tsan": ("gcc", ["-O1", "-g", "-fsanitize=thread"]),
    "tsan-always-sleeps": ("gcc", ["-O1", "-g", "-fsanitize=thread", "-DES_POOL_SPIN_NS=0"]),
}


@pytest.mark.parametrize("name", BUILDS)
def test_pool(build: Build, name: str) -> None:
    compiler, options = BUILDS[name]
    program = build(["pool_test.c", "es_pool.c"], [*options, "-Wl,--wrap=pthread_create"], compiler)
    result = subprocess.run([program], capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout, result.stderr) == (0, "ok\n", "")


@pytest.mark.parametrize("standard", ["c99", "c++11"])
@pytest.mark.parametrize("header", ["es_abi.h", "es_pool.h", "es_selftest.h"])
def test_headers_are_self_contained(build: Build, tmp_path: Path, header: str, standard: str) -> None:
    source = tmp_path / "include.txt"
    source.write_text(f'#include "{header}"\n')
    language = "c++" if "+" in standard else "c"
    build([source], ["-c", "-x", language, f"-std={standard}"], "zig")
