"""The command-line program of a generated package, around a hand-made model."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgesmith.codegen.selftest import selftest_header, selftest_inputs
from edgesmith.ir import DType, TensorType

pytestmark = pytest.mark.toolchain

Run = Callable[..., subprocess.CompletedProcess[str]]
FILES = ["es_main.c", "es_pool.c", "es_selftest.c", "es_session.c", "model.c"]
BUILDS = {
    "gcc": ("gcc", ["-O2"]),
    "clang": ("clang", ["-O2"]),
    "asan-ubsan": ("gcc", ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]),
    "tsan": ("gcc", ["-O1", "-g", "-fsanitize=thread"]),
}


def reference(x: np.ndarray, b: np.ndarray) -> list[np.ndarray]:
    y = 2 * x + b.astype(np.float32)
    return [y, np.array(y.argmax(), np.int64)]


def recorded(factor: float = 1.0, inputs: list[np.ndarray] | None = None) -> str:
    """The model's selftest_data.h, right unless told otherwise."""
    made = selftest_inputs([TensorType((2, 3, 4), DType.F32), TensorType((4,), DType.I32)])
    y, top = reference(*made)
    return selftest_header(made if inputs is None else inputs, [y * np.float32(factor), top], [1e-6, 0])


@pytest.fixture
def program(build: Callable[..., Path], tmp_path: Path, request: pytest.FixtureRequest) -> Run:
    name, header = getattr(request, "param", ("asan-ubsan", recorded()))
    (tmp_path / "selftest_data.h").write_text(header)
    compiler, options = BUILDS[name]
    path = build(FILES, options, compiler)

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        words = [str(argument) for argument in arguments]
        return subprocess.run([path, *words], capture_output=True, text=True, timeout=60, cwd=tmp_path)

    return run


@pytest.mark.parametrize("program", [(name, recorded()) for name in BUILDS], ids=list(BUILDS), indirect=True)
def test_selftest_passes_with_any_number_of_threads(program: Run) -> None:
    for threads in (1, 2, 7):
        result = program("--selftest", "--threads", threads)
        assert (result.returncode, result.stderr) == (0, "")
        assert "output y: ok, 0 of 24 samples wrong" in result.stdout
        assert "output top: ok, 0 of 1 samples wrong" in result.stdout
        assert result.stdout.endswith("selftest passed\n")


WRONG_INPUTS = [np.zeros((2, 3, 4), np.float32), np.zeros(4, np.int32)]


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (("gcc", recorded(factor=1.00001)), "output y: FAIL"),
        (("gcc", recorded(inputs=WRONG_INPUTS)), "input x: the generated values are not those that the reference saw"),
        (("gcc", selftest_header([], [], [])), "belongs to another model"),
    ],
    ids=["outputs", "inputs", "other-model"],
    indirect=["program"],
)
def test_selftest_fails(program: Run, message: str) -> None:
    result = program("--selftest")
    assert result.returncode == 1
    assert message in result.stdout + result.stderr
    assert "passed" not in result.stdout


def test_bench(program: Run) -> None:
    result = program("--bench", "--runs", 7, "--warmup", 0, "--threads", 2)
    assert result.returncode == 0, result.stderr
    found = re.fullmatch(r"median_ms (\S+) min_ms (\S+) p95_ms (\S+) runs 7 threads 2\n", result.stdout)
    assert found, result.stdout
    median, least, p95 = (float(text) for text in found.groups())
    assert 0 < least <= median <= p95 < 10_000


def test_info(program: Run) -> None:
    result = program("--info")
    assert result.returncode == 0
    assert result.stdout.splitlines()[:5] == [
        "edgesmith 0.test, abi 1",
        "input   x: f32 [2, 3, 4], 96 bytes",
        "input   b: i32 [4], 16 bytes",
        "output  y: f32 [2, 3, 4], 96 bytes",
        "output  top: i64 [], 8 bytes",
    ]
    assert result.stdout.endswith("/ArgMax\n") and "affine: /scale/Mul, /Add" in result.stdout


def test_run_on_files(program: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x, b = rng.standard_normal((2, 3, 4)).astype(np.float32), np.array([-9, 0, 3, 2**20], np.int32)
    (tmp_path / "x.bin").write_bytes(x.tobytes())
    (tmp_path / "b.bin").write_bytes(b.tobytes())
    result = program("--run", "x.bin", "b.bin", "--threads", 3, "y.bin", "top.bin")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    y, top = reference(x, b)
    assert (tmp_path / "y.bin").read_bytes() == y.tobytes()
    assert (tmp_path / "top.bin").read_bytes() == top.tobytes()
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize(
    ("size", "output", "message"),
    [
        (95, "y.bin", "x.bin: input x needs exactly 96 bytes"),
        (97, "y.bin", "x.bin: input x needs exactly 96 bytes"),
        (None, "y.bin", "x.bin: No such file"),
        (96, "absent/y.bin", "absent/y.bin: cannot write output y"),
    ],
)
def test_files_that_do_not_fit(program: Run, tmp_path: Path, size: int | None, output: str, message: str) -> None:
    if size is not None:
        (tmp_path / "x.bin").write_bytes(bytes(size))
    (tmp_path / "b.bin").write_bytes(bytes(16))
    result = program("--run", "x.bin", "b.bin", output, "top.bin")
    assert result.returncode == 3
    assert message in result.stderr
    assert not list(tmp_path.glob("**/*.part")) and not (tmp_path / "y.bin").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        "",
        "--selftest --bench",
        "--selftest extra",
        "--nonsense",
        "--bench --runs",
        "--bench --runs 0",
        "--bench --runs 3x",
        "--bench --warmup -1",
        "--bench --threads 99999999999999999999",
        "--bench --threads 1025",
        "--run",
        "--run a b c d e",
        "file --run",
    ],
)
def test_usage_errors(program: Run, arguments: str) -> None:
    result = program(*arguments.split())
    assert result.returncode == 2
    assert result.stdout == "" and result.stderr


def test_help(program: Run) -> None:
    result = program("--help")
    assert result.returncode == 0 and result.stderr == ""
    for option in ("--selftest", "--bench", "--run", "--info", "--threads", "--runs", "--warmup"):
        assert option in result.stdout
