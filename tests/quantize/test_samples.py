"""Calibration data: every kind of source gives the same runs; wrong data are told with their place."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgesmith.errors import BadInput
from edgesmith.ir import DType, TensorType
from edgesmith.preprocess import Preprocess
from edgesmith.quantize.samples import Samples
from edgesmith.quantize.sources import open_samples

X = {"x": TensorType((2, 3), DType.F32)}
TWO = {"a": TensorType((1, 3), DType.F32), "n": TensorType((1,), DType.I64)}
ROWS = np.arange(15, dtype=np.float32).reshape(5, 3)
RUNS = [ROWS[0:2], ROWS[2:4], ROWS[[4, 4]]]
"""The last batch is filled up by its own beginning."""


def runs(samples: Samples, name: str = "x") -> list[np.ndarray]:
    return [run[name] for run in samples]


def saved(folder: Path) -> Path:
    np.save(folder / "x.npy", ROWS)
    return folder / "x.npy"


def archived(folder: Path, *, compressed: bool = False) -> Path:
    (np.savez_compressed if compressed else np.savez)(folder / "x.npz", anything=ROWS)
    return folder / "x.npz"


def one_file_each(folder: Path) -> Path:
    for i, row in enumerate(ROWS):
        np.save(folder / f"{i}.npy", row)
    return folder


SOURCES: dict[str, Callable[[Path], object]] = {
    "npy": saved,
    "npz": archived,
    "compressed": lambda folder: archived(folder, compressed=True),
    "folder": one_file_each,
    "array": lambda folder: ROWS,
    "dict": lambda folder: {"x": ROWS},
    "list of rows": lambda folder: list(ROWS),
    "function": lambda folder: lambda: ({"x": row[None]} for row in ROWS),
    "doubles": lambda folder: lambda: iter(ROWS.astype(np.float64)),
}


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_gives_the_same_runs(source: str, tmp_path: Path) -> None:
    samples = open_samples(SOURCES[source](tmp_path), X)  # type: ignore[arg-type]
    for _ in range(2):
        found = runs(samples)
        assert len(found) == 3
        for got, wanted in zip(found, RUNS, strict=True):
            assert got.dtype == np.float32
            np.testing.assert_array_equal(got, wanted)
    assert samples.count in (None, 3)


def test_whole_batches_along_a_further_axis() -> None:
    stack = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    np.testing.assert_array_equal(runs(open_samples(stack, X)), stack)


@pytest.mark.parametrize("file", ["npz", "dict"])
def test_several_inputs(file: str, tmp_path: Path) -> None:
    arrays = {"n": np.arange(4), "a": np.ones((4, 3), np.float32)}
    np.savez(tmp_path / "x.npz", **arrays)
    samples = open_samples(tmp_path / "x.npz" if file == "npz" else arrays, TWO)
    assert [int(n[0]) for n in runs(samples, "n")] == [0, 1, 2, 3]


def test_module_and_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_calibration.py").write_text(
        "import numpy as np\ndef batches():\n    for i in range(3):\n        yield np.full((2, 3), i, np.float32)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    found = runs(open_samples("my_calibration:batches", X))
    assert [float(a[0, 0]) for a in found] == [0, 1, 2]


def test_pictures_go_through_preprocessing(tmp_path: Path) -> None:
    kind = {"x": TensorType((1, 3, 8, 8), DType.F32)}
    (tmp_path / "class").mkdir()
    for i in range(6):
        Image.fromarray(np.full((10, 12, 3), 40 * i, np.uint8)).save(tmp_path / "class" / f"{i}.png")
    picture = Preprocess(mean=(0.5,), std=(0.5,))
    samples = open_samples(tmp_path, kind, picture, limit=3)
    levels = [float(a.mean()) for a in runs(samples)]
    assert samples.count == 3
    assert levels == pytest.approx([(v / 255 - 0.5) / 0.5 for v in (0, 80, 160)])
    assert samples.digest != open_samples(tmp_path, kind, limit=3).digest


def test_equal_data_have_equal_digests(tmp_path: Path) -> None:
    assert open_samples(ROWS, X).digest == open_samples(list(ROWS), X).digest
    assert open_samples(ROWS, X).digest != open_samples(ROWS + 1, X).digest
    assert open_samples(ROWS, X).digest != open_samples(ROWS, X, limit=2).digest
    first = open_samples(saved(tmp_path), X).digest
    np.save(tmp_path / "x.npy", ROWS + 1)
    assert open_samples(tmp_path / "x.npy", X).digest != first


def test_synthetic_inputs_are_seeded_and_look_like_pictures() -> None:
    kinds = {"x": TensorType((1, 3, 16, 16), DType.F32)}
    picture = Preprocess(scale=1.0, mean=(100.0,))
    first, second = (open_samples("none", kinds, picture, limit=4) for _ in range(2))
    assert not first.real
    np.testing.assert_array_equal(runs(first), runs(second))
    found = np.stack(runs(first))
    assert -100 <= found.min() < found.max() <= 155
    other = runs(open_samples("none", {"x": TensorType((4, 7), DType.F32), "n": TensorType((3,), DType.I64)}, limit=2))
    assert other[0].shape == (4, 7)


def bad(rows: np.ndarray) -> Callable[[Path], object]:
    return lambda folder: rows


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "NaN": (bad(np.where(ROWS == 7, np.nan, ROWS)), "sample 1: input 'x': an element is NaN"),
    "infinite": (bad(np.where(ROWS == 0, np.inf, ROWS)), "infinite"),
    "shape": (bad(ROWS[:, :2]), "shape is 2x2, the model takes 2x3"),
    "type": (bad(ROWS.astype(np.uint8)), "elements are uint8, the model takes float32"),
    "empty array": (bad(ROWS[:0]), "no sample"),
    "empty list": (lambda folder: [], "no sample"),
    "empty folder": (lambda folder: folder, "holds no pictures"),
    "no such file": (lambda folder: folder / "missing.npz", "no such file"),
    "neither": (lambda folder: __file__, "neither a folder nor"),
    "no such module": (lambda folder: "nowhere_at_all:f", "cannot be imported"),
    "no function": (lambda folder: "numpy:pi", "is no function"),
    "generator": (lambda folder: iter(ROWS), "only once"),
    "failing": (lambda folder: lambda: 1 / 0, "ZeroDivisionError"),
    "number": (lambda folder: 7, "no calibration data"),
    "names": (lambda folder: {"y": ROWS, "z": ROWS}, "no array for input 'x'"),
    "count": (lambda folder: [(ROWS, ROWS)], "2 arrays for 1 inputs"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_data_are_told(case: str, tmp_path: Path) -> None:
    source, words = WRONG[case]
    with pytest.raises(BadInput, match=words):
        list(open_samples(source(tmp_path), X))  # type: ignore[arg-type]


def test_damaged_files_are_told(tmp_path: Path) -> None:
    for name in ("x.npy", "x.npz"):
        (tmp_path / name).write_bytes(b"nothing of the sort")
        with pytest.raises(BadInput, match="cannot be read as an array"):
            list(open_samples(tmp_path / name, X))
    whole = archived(tmp_path).read_bytes()
    (tmp_path / "x.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadInput, match="cannot be read"):
        list(open_samples(tmp_path / "x.npz", X))


def test_fewer_data_for_one_input_than_for_the_other() -> None:
    with pytest.raises(BadInput, match="fewer data for input 'n'"):
        list(open_samples({"a": np.ones((4, 3), np.float32), "n": np.arange(3)}, TWO))
