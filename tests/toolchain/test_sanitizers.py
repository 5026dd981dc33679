"""Whole packages under sanitizers and strict compilers: their own self-test, and contexts that run at the same time."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path

import onnx
import pytest

from edgesmith import api
from edgesmith.codegen.package import PROGRAM
from edgesmith.device import Artifact
from edgesmith.errors import CompilerFailed
from edgesmith.frontend.onnx import read
from edgesmith.recipe import Recipe
from edgesmith.target import parse
from small_networks import NETWORKS

pytestmark = pytest.mark.toolchain

DIGITS = Path(__file__).parents[2] / "examples" / "digits" / "digits.onnx"
MODELS = {**NETWORKS, "digits": lambda: onnx.load(DIGITS)}
STRICT = ("-Wall", "-Wextra", "-Werror")
ADDRESS = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
THREAD = ("-O1", "-g", "-fsanitize=thread")


@cache
def works(compiler: str, *flags: str) -> bool:
    """Whether the compiler is there and makes programs that run with these flags."""
    if shutil.which(compiler) is None:
        return False
    command = [compiler, *flags, "-x", "c", "-", "-o", "/dev/null"]
    built = subprocess.run(command, input=b"int main(void) { return 0; }", capture_output=True)
    return built.returncode == 0


def need(compiler: str, *flags: str) -> None:
    if not works(compiler, *flags):
        pytest.skip(f"{compiler} {' '.join(flags)} does not work here")


def package(name: str, output: Path, compiler: str, target: str, *flags: str, threads: int = 1) -> Artifact:
    """Built without verification: this process cannot load a sanitized library."""
    recipe = Recipe(target, compiler=compiler, flags=flags, threads=threads)
    return api.compile_graph(read(MODELS[name]()), recipe, output, verify=False)


@pytest.mark.parametrize("target", ["native", "portable"])
@pytest.mark.parametrize("name", MODELS)
def test_memory_and_arithmetic_are_clean(name: str, target: str, tmp_path: Path) -> None:
    need("gcc", *ADDRESS)
    artifact = package(name, tmp_path / "out", "gcc", target, *STRICT, *ADDRESS)
    for threads in ("1", "2"):
        done = subprocess.run([artifact.executable, "--selftest", "--threads", threads], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "runtime error" not in done.stderr


@pytest.mark.parametrize("target", ["native", "portable"])
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_strict_compilers_have_nothing_to_say(compiler: str, target: str, tmp_path: Path) -> None:
    need(compiler)
    for name in MODELS:
        artifact = package(name, tmp_path / name, compiler, target, *STRICT)
        subprocess.run([artifact.executable, "--selftest"], check=True, capture_output=True)


def test_flags_of_the_recipe_reach_the_compiler(tmp_path: Path) -> None:
    need("gcc")
    with pytest.raises(CompilerFailed, match="no-such-warning"):
        package("two-inputs", tmp_path / "out", "gcc", "portable", "-Werror=no-such-warning")


@pytest.mark.parametrize("target", ["native", "portable"])
@pytest.mark.parametrize("name", MODELS)
def test_contexts_in_two_threads_with_pools_do_not_race(name: str, target: str, tmp_path: Path) -> None:
    need("gcc", *THREAD)
    source = package(name, tmp_path / "out", "gcc", target).path / "src"
    files = [p.name for p in source.glob("*.c") if p.name not in PROGRAM] + ["es_selftest.c"]
    driver = Path(__file__).with_name("two_contexts.c")
    features = [f"-m{f}" for f in parse(target).features]
    command = ["gcc", "-std=gnu99", *STRICT, *THREAD, *features, "-ffp-contract=off", "-I.", *files, str(driver)]
    subprocess.run([*command, "-o", str(tmp_path / "driver"), "-lm", "-pthread"], cwd=source, check=True)
    done = subprocess.run([tmp_path / "driver"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and done.stdout.strip() == "passed", done.stdout + done.stderr
    assert "WARNING" not in done.stderr
