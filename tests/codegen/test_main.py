"""The command-line program of a generated package, around a hand-made model."""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgesmith.codegen.package import RUNTIME
from edgesmith.codegen.selftest import selftest_header, selftest_inputs
from edgesmith.ir import DType, TensorType

pytestmark = pytest.mark.toolchain

PROCESSORS = "processors"
"""Where the programs look for descriptions of processors: a folder beside their files."""
Run = Callable[..., subprocess.CompletedProcess[str]]
FILES = [*(f for f in RUNTIME if f.endswith(".c")), "model.c"]
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


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory, build_in: Callable[..., Path]) -> Callable[..., Path]:
    """Programs by build and selftest_data.h, each made once."""

    @functools.cache
    def made(name: str, header: str) -> Path:
        folder = tmp_path_factory.mktemp("program")
        (folder / "selftest_data.h").write_text(header)
        compiler, options = BUILDS[name]
        return build_in(folder, FILES, [*options, f'-DES_PROCESSORS="{PROCESSORS}"'], compiler)

    return made


@pytest.fixture
def program(programs: Callable[..., Path], tmp_path: Path, request: pytest.FixtureRequest) -> Run:
    path = programs(*getattr(request, "param", ("asan-ubsan", recorded())))

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
        (None, "y.bin", "x.bin: input x cannot be read: No such file"),
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


def given(folder: Path) -> tuple[bytes, bytes]:
    """Inputs in a folder, ``x`` and ``b``, and the outputs that belong to them."""
    x, b = np.arange(24, dtype=np.float32).reshape(2, 3, 4), np.arange(4, dtype=np.int32)
    (folder / "x").write_bytes(x.tobytes())
    (folder / "b").write_bytes(b.tobytes())
    y, top = reference(x, b)
    return y.tobytes(), top.tobytes()


def test_a_pipe_stays_a_pipe(program: Run, tmp_path: Path) -> None:
    y, top = given(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        # Both outputs, one after the other: a pipe takes any number.
        result = program("--run", "x", "b", "pipe", "pipe")
        assert (result.returncode, result.stderr) == (0, "")
        assert os.read(reader, 1000) == y + top
    finally:
        os.close(reader)
    assert (tmp_path / "pipe").is_fifo()


def test_a_link_stays_a_link(program: Run, tmp_path: Path) -> None:
    """As /dev/stdout is one, which leads to a file or to a pipe."""
    y, top = given(tmp_path)
    (tmp_path / "file").write_bytes(b"older and longer" * 100)
    for link, leads_to in (("link", "file"), ("new-link", "new-file")):
        (tmp_path / link).symlink_to(leads_to)
    result = program("--run", "x", "b", "link", "new-link")
    assert (result.returncode, result.stderr) == (0, "")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "new-link").is_symlink()
    assert ((tmp_path / "file").read_bytes(), (tmp_path / "new-file").read_bytes()) == (y, top)


def test_a_file_is_replaced_as_a_whole(program: Run, tmp_path: Path) -> None:
    """A reader who has the old one open goes on with it."""
    y, _ = given(tmp_path)
    (tmp_path / "y").write_bytes(b"old")
    with (tmp_path / "y").open("rb") as reader:
        assert program("--run", "x", "b", "y", "top").returncode == 0
        assert reader.read() == b"old"
    assert (tmp_path / "y").read_bytes() == y


@pytest.mark.parametrize(
    "outputs",
    ["x top", "y b", "./x top", "link top", "same top", "y y", "y ./y", "y ../{folder}/y", "old same-old"],
)
def test_outputs_need_files_of_their_own(program: Run, tmp_path: Path, outputs: str) -> None:
    given(tmp_path)
    (tmp_path / "old").write_bytes(b"old")
    (tmp_path / "link").symlink_to("x")
    for name, other in (("same", "x"), ("same-old", "old")):
        (tmp_path / name).hardlink_to(tmp_path / other)
    before = {p: (p.read_bytes(), p.is_symlink()) for p in tmp_path.iterdir()}
    result = program("--run", "x", "b", *outputs.format(folder=tmp_path.name).split())
    assert result.returncode == 3 and "is given twice; results need a file of their own" in result.stderr
    assert {p: (p.read_bytes(), p.is_symlink()) for p in before} == before
    assert not list(tmp_path.glob("*.part"))


def test_results_that_would_replace_files_of_another_folder(program: Run, tmp_path: Path) -> None:
    for folder, size in (("xs", 96), ("bs", 16), ("ys", 0)):
        (tmp_path / folder).mkdir()
        if size:
            (tmp_path / folder / "one").write_bytes(bytes(size))
    (tmp_path / "ys" / "one").symlink_to("../xs/one")
    result = program("--run", "xs", "bs", "ys", "tops")
    assert result.returncode == 3 and "ys/one: is given twice" in result.stderr
    assert (tmp_path / "xs" / "one").read_bytes() == bytes(96)


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


def test_help_shows_this_model(program: Run) -> None:
    result = program("--help")
    assert result.returncode == 0 and result.stderr == ""
    for option in ("--selftest", "--bench", "--run", "--info", "--threads", "--runs", "--warmup", "--affinity"):
        assert option in result.stdout
    assert "x f32 [2, 3, 4], b i32 [4] into y f32 [2, 3, 4], top i64 []" in result.stdout
    assert "--run in0.npy in1.npy out0.npy out1.npy" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--bench --runs", "--runs takes a number from 1 to"),
        ("--bench --threads 0", "not 0"),
        ("--selftest --bench", "only one command"),
        ("--nonsense", "--nonsense: neither a command nor an option"),
        ("--bench x.bin", "files come after --run"),
        ("--threads 2", "which command?"),
        ("--bench --affinity", "--affinity takes big, little"),
        ("--run a b", "2 input and 2 output files or folders"),
    ],
)
def test_usage_errors_say_why(program: Run, arguments: str, message: str) -> None:
    assert message in program(*arguments.split()).stderr


def test_folders(program: Run, tmp_path: Path) -> None:
    """Files of one name belong together; what is not a file of the first folder is left alone."""
    rng = np.random.default_rng(0)
    given = {}
    for folder in ("xs", "bs"):
        (tmp_path / folder / "deeper").mkdir(parents=True)
    for name in ("one.npy", "two.raw", "three.npy"):
        x, b = rng.standard_normal((2, 3, 4)).astype(np.float32), rng.integers(-9, 9, 4).astype(np.int32)
        for folder, array in (("xs", x), ("bs", b)):
            path = tmp_path / folder / name
            np.save(path, array) if name.endswith(".npy") else path.write_bytes(array.tobytes())
        given[name] = x, b
    (tmp_path / "xs" / ".hidden").write_text("")
    result = program("--run", "xs", "bs/", "ys", "tops/")
    assert (result.returncode, result.stderr) == (0, "")
    for name, inputs in given.items():
        for folder, expected in zip(("ys", "tops"), reference(*inputs), strict=True):
            path = tmp_path / folder / name
            dtype, shape = expected.dtype, expected.shape
            found = np.load(path) if name.endswith(".npy") else np.fromfile(path, dtype).reshape(shape)
            assert found.dtype == dtype and found.tobytes() == expected.tobytes()
        assert sorted(p.name for p in (tmp_path / folder).iterdir()) == sorted(given)


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        ("empty bs ys tops", "empty: holds no files"),
        ("xs bs bs tops", "bs: is given twice"),
        ("xs bs ys ys/", "ys/: is given twice"),
        ("xs bs xs/one tops", "xs/one: "),
        ("xs xs/one ys tops", "xs/one: is no folder"),
        ("xs bs ys tops", "bs/one: input b cannot be read"),
    ],
)
def test_folders_that_do_not_fit(program: Run, tmp_path: Path, folders: str, message: str) -> None:
    for folder in ("empty", "xs", "bs"):
        (tmp_path / folder).mkdir()
    (tmp_path / "xs" / "one").write_bytes(bytes(96))
    result = program("--run", *folders.split())
    assert result.returncode == 3 and message in result.stderr
    assert (tmp_path / "xs" / "one").read_bytes() == bytes(96)


def processors(folder: Path, file: str, speeds: dict[int, int]) -> None:
    for cpu, speed in speeds.items():
        path = folder / PROCESSORS / f"cpu{cpu}" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{speed}\n")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processors are chosen on Linux only")
@pytest.mark.parametrize("file", ["cpu_capacity", "cpufreq/cpuinfo_max_freq"])
def test_affinity(program: Run, tmp_path: Path, file: str) -> None:
    usable = sorted(os.sched_getaffinity(0))
    processors(tmp_path, file, {cpu: 1024 if cpu == usable[-1] else 400 for cpu in usable})
    for which in ("big", "little", str(usable[0]), f"{usable[0]}-{usable[0]},{usable[-1]}"):
        result = program("--selftest", "--affinity", which, "--threads", 2)
        assert (result.returncode, result.stderr) == (0, ""), which


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processors are chosen on Linux only")
@pytest.mark.parametrize(
    ("which", "status", "message"),
    [
        ("big", 4, "does not say how fast processor"),
        ("medium", 2, "takes big, little, or processors"),
        ("1-", 2, "takes big, little, or processors"),
        ("3-1", 2, "takes big, little, or processors"),
        ("99999999999999999999", 2, "takes big, little, or processors"),
        ("1023", 4, "--affinity 1023: "),
    ],
)
def test_affinity_that_cannot_be(program: Run, which: str, status: int, message: str) -> None:
    result = program("--selftest", "--affinity", which)
    assert result.returncode == status and message in result.stderr


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processors are chosen on Linux only")
def test_processors_that_are_alike(program: Run, tmp_path: Path) -> None:
    processors(tmp_path, "cpu_capacity", dict.fromkeys(os.sched_getaffinity(0), 1024))
    result = program("--selftest", "--affinity", "big")
    assert result.returncode == 0 and "all alike" in result.stderr


def npy(descr: object = "<f4", shape: object = (2, 3, 4), order: object = False, data: bytes = bytes(96)) -> bytes:
    text = repr({"descr": descr, "fortran_order": order, "shape": shape}).encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


@pytest.mark.parametrize("dtype", ["<f4", "=f4"])
@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_npy_of_every_version(program: Run, tmp_path: Path, version: tuple[int, int], dtype: str) -> None:
    x, b = np.arange(24, dtype=dtype).reshape(2, 3, 4), np.arange(4, dtype=np.int32)
    for name, array in (("x", x), ("b", b)):
        with (tmp_path / f"{name}.npy").open("wb") as file:
            np.lib.format.write_array(file, array, version=version)
    result = program("--run", "x.npy", "b.npy", "y.npy", "top.npy")
    assert (result.returncode, result.stderr) == (0, "")
    for file, expected in zip(("y.npy", "top.npy"), reference(x, b), strict=True):
        found = np.load(tmp_path / file)
        assert found.dtype == expected.dtype and found.shape == expected.shape and np.array_equal(found, expected)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no .npy file"),
        (b"P5 8 8 255\n", "is no .npy file"),
        (npy()[:7], "is no .npy file"),
        (npy()[:9], "header is damaged"),
        (npy()[:40], "header is damaged"),
        (npy()[:-1], "needs exactly 96 bytes of elements after the header"),
        (npy(data=bytes(97)), "needs exactly 96 bytes of elements after the header"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff", "longer than that of any array"),
        (b"\x93NUMPY\x01\x00\xff\xff{", "header is damaged"),
        (b"\x93NUMPY\x09\x00", "unknown here"),
        (npy("<f8", data=bytes(192)), "input x takes f32, the file holds '<f8'; save x.astype('<f4')"),
        (npy(">f4"), "the file holds '>f4'; save x.astype('<f4')"),
        (npy([("a", "<f4")]), "holds records"),
        (npy("<f4" * 40), "header is damaged"),
        (npy(shape=(4, 3, 2)), "has the shape [2, 3, 4], the file holds [4, 3, 2]"),
        (npy(shape=(24,)), "the file holds [24]"),
        (npy(shape=()), "the file holds []"),
        (npy(shape=(1,) * 65), "header is damaged"),
        (npy(shape=(10**30, 3, 4)), "the file holds ["),
        (npy(shape=(-1, 3, 4)), "header is damaged"),
        (npy(order=True), "Fortran order"),
        (npy(order=3), "header is damaged"),
        (npy().replace(b"shape", b"shade"), "header is damaged"),
        (npy().replace(b"'<f4'", b"'<f4\\"), "header is damaged"),
        (npy().replace(b"}", b"\0"), "header is damaged"),
        (npy().replace(b"}", b" "), "header is damaged"),
    ],
)
def test_npy_that_does_not_fit(program: Run, tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.npy").write_bytes(content)
    (tmp_path / "b.raw").write_bytes(bytes(16))
    result = program("--run", "x.npy", "b.raw", "y", "top")
    assert result.returncode == 3
    assert result.stderr.startswith("x.npy: ") and message in result.stderr


def test_damaged_npy_is_refused_or_read(program: Run, tmp_path: Path) -> None:
    """Any byte of the header changed, and the file cut anywhere: an error or a result, never a wild access."""
    whole = npy()
    for folder in ("xs", "bs"):
        (tmp_path / folder).mkdir()
    rng = np.random.default_rng(0)
    (tmp_path / "b.raw").write_bytes(bytes(16))
    for _ in range(60):
        damaged = bytearray(whole[: rng.integers(0, len(whole))] if rng.random() < 0.3 else whole)
        for _ in range(rng.integers(0, 4)):
            if damaged:
                damaged[rng.integers(0, min(len(damaged), 80))] = rng.integers(0, 256)
        (tmp_path / "x.npy").write_bytes(damaged)
        result = program("--run", "x.npy", "b.raw", "y", "top")
        assert result.returncode in (0, 3) and "Sanitizer" not in result.stderr, bytes(damaged)
