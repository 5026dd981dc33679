"""The two implementations of the self-test generator agree, and the recorded samples catch what they should."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgesmith.codegen.selftest import MAX_SAMPLES, selftest_checksum, selftest_header, selftest_inputs
from edgesmith.ir import DType, TensorType

Build = Callable[..., Path]
SANITIZE = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


def test_splitmix64_follows_its_publication() -> None:
    """First words of the published generator from state 0, as Java's SplittableRandom(0) also gives them."""
    words = selftest_inputs([TensorType((3,), DType.F64)])[0]
    published = np.array([0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F], np.uint64)
    np.testing.assert_array_equal(words, (published >> np.uint64(11)).astype(np.float64) / 2**52 - 1)


@pytest.mark.parametrize("dtype", DType)
def test_inputs_have_the_documented_range(dtype: DType) -> None:
    first, second = selftest_inputs([TensorType((40, 50), dtype), TensorType((40, 50), dtype)])
    assert first.dtype == dtype.numpy and first.shape == (40, 50)
    assert not np.array_equal(first, second)
    if dtype.is_float:
        assert -1 <= first.min() < -0.99 and 0.99 < first.max() < 1
        assert abs(first.astype(np.float64).mean()) < 0.05
    elif dtype in (DType.I8, DType.U8):
        limits = np.iinfo(dtype.numpy)
        assert (first.min(), first.max()) == (limits.min, limits.max)
    else:
        assert set(np.unique(first).tolist()) == (set(range(2)) if dtype is DType.BOOL else set(range(8)))


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2)])
def test_inputs_of_every_shape(shape: tuple[int, ...]) -> None:
    assert selftest_inputs([TensorType(shape, DType.F32)])[0].shape == shape


@pytest.mark.toolchain
def test_c_generates_the_same_bits(build: Build, tmp_path: Path) -> None:
    program = build(["fill.c", "es_selftest.c"], SANITIZE)
    for dtype in DType:
        expected = selftest_inputs([TensorType((n,), dtype) for n in (1, 0, 5000)])
        for index, tensor in enumerate(expected):
            arguments = [program, str(dtype.value), str(index), str(tensor.size)]
            actual = subprocess.run(arguments, capture_output=True, check=True).stdout
            assert actual == tensor.tobytes(), dtype
    (tmp_path / "tensor.bin").write_bytes(tensor.tobytes())
    printed = subprocess.run([program, tmp_path / "tensor.bin"], capture_output=True, check=True).stdout
    assert int(printed) == selftest_checksum(tensor)


class Comparison:
    """The compiled comparison of given outputs with their own samples."""

    def __init__(self, build: Build, folder: Path, outputs: list[np.ndarray], tolerances: list[float]) -> None:
        (folder / "selftest_data.h").write_text(selftest_header([np.arange(9)], outputs, tolerances))
        self.program = build(["compare.c", "es_selftest.c"], SANITIZE)

    def __call__(self, number: int, tensor: np.ndarray) -> tuple[int, int, float, int]:
        arguments = [self.program, str(number), str(DType.of(tensor.dtype).value), str(tensor.nbytes)]
        text = subprocess.run(arguments, input=tensor.tobytes(), capture_output=True, check=True).stdout.decode()
        status, wrong, worst, worst_at, checksum = text.split()
        assert int(checksum) == selftest_checksum(np.arange(9))
        return int(status), int(wrong), float(worst), int(worst_at)


@pytest.mark.toolchain
def test_comparison_of_floats(build: Build, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    big = rng.standard_normal((3, 70, 90)).astype(np.float32)
    special = np.array([1.5, np.nan, np.inf, -np.inf, -0.0, 6e-8], np.float16)
    double = np.array([[np.pi, 5e-324, 1.7e308]])
    compare = Comparison(build, tmp_path, [big, special, double, np.zeros((0, 4), np.float32)], [1e-3, 0.25, 0, 0])
    assert compare(0, big) == (0, 0, 0, -1)
    status, wrong, worst, _ = compare(0, big + np.float32(9e-4))
    assert (status, wrong) == (0, 0) and worst == pytest.approx(9e-4, rel=1e-3)
    assert compare(0, big + np.float32(2e-3))[1] == MAX_SAMPLES
    assert compare(0, big[:2])[0] != 0, "wrong size"
    assert compare(1, special)[:2] == (0, 0)
    for position, value in [(1, 0.0), (0, np.nan), (2, -np.inf), (3, 0.0)]:
        changed = special.copy()
        changed[position] = value
        assert compare(1, changed) == (0, 1, np.inf, position)
    assert compare(1, special + np.float16(0.25))[:3] == (0, 0, 0.25)
    assert compare(2, double) == (0, 0, 0, -1)
    assert compare(2, np.nextafter(double, np.inf))[1] == 3
    assert compare(3, np.zeros((0, 4), np.float32)) == (0, 0, 0, -1)


@pytest.mark.toolchain
def test_comparison_of_integers_is_exact(build: Build, tmp_path: Path) -> None:
    signed = np.array([-(2**63), 2**63 - 1, -1, 7])
    unsigned = np.array([2**64 - 1, 2**53 + 1, 0], np.uint64)
    boolean = np.array([True, False])
    byte = np.arange(-128, 128).astype(np.int8)
    compare = Comparison(build, tmp_path, [signed, unsigned, boolean, byte], [0, 0, 0, 1])
    for number, tensor in enumerate((signed, unsigned, boolean, byte)):
        assert compare(number, tensor) == (0, 0, 0, -1)
    assert compare(0, np.array([-(2**63), 2**63 - 1, -1, 8])) == (0, 1, 1, 3)
    assert compare(1, np.array([2**64 - 1, 2**53, 0], np.uint64)) == (0, 1, 1, 1)
    assert compare(2, ~boolean)[:2] == (0, 2)
    assert compare(3, np.minimum(byte, 126)) == (0, 0, 1, 255)


@pytest.mark.parametrize("size", [MAX_SAMPLES + 1, 5000, 1_000_003])
def test_samples_are_spread_and_distinct(size: int) -> None:
    text = selftest_header([], [np.zeros(size, np.int8)], [0])
    listed = text.split("es_selftest_index_0[] = {")[1].split("}")[0]
    positions = [int(word) for word in listed.split(",") if word.strip()]
    assert len(positions) == MAX_SAMPLES and positions == sorted(set(positions))
    assert positions[0] >= 0 and positions[-1] < size
    assert np.diff(positions).max() <= 2 * -(-size // MAX_SAMPLES)


def test_header_needs_one_tolerance_an_output() -> None:
    with pytest.raises(ValueError, match="zip"):
        selftest_header([], [np.zeros(1)], [])
