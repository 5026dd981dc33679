"""Decisions, their comparison, and the table."""

from __future__ import annotations

import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from benchmarks.accuracy.cases import Case, Samples
from benchmarks.accuracy.judging import Classes, Faces, intersection_over_union
from benchmarks.accuracy.methods import FLOAT, known
from benchmarks.accuracy.results import Results, judged, sqnr_db
from benchmarks.accuracy.table import REFERENCE, named

from edgesmith.errors import EdgesmithError

LEFT, RIGHT = [0.0, 0.0, 0.4, 0.4], [0.5, 0.0, 0.9, 0.4]


def boxes(*found: list[float]) -> np.ndarray:
    return np.array(found, np.float32).reshape(-1, 4)


def test_intersection_over_union() -> None:
    found = intersection_over_union(np.array([0.0, 0, 2, 2]), boxes([0, 0, 2, 2], [1, 0, 3, 2], [5, 5, 6, 6]))
    np.testing.assert_allclose(found, [1, 1 / 3, 0])


def test_the_likeliest_of_overlapping_faces_stays() -> None:
    outputs = {
        "scores": np.array([[[0.2, 0.8], [0.05, 0.95], [0.1, 0.9], [0.6, 0.4]]], np.float32),
        "boxes": boxes(LEFT, [0.02, 0, 0.42, 0.4], RIGHT, [0, 0.5, 0.4, 0.9])[None],
    }
    np.testing.assert_array_equal(Faces().decide(outputs), boxes([0.02, 0, 0.42, 0.4], RIGHT))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ([LEFT, RIGHT], [RIGHT, LEFT], True),
        ([LEFT], [[0.05, 0, 0.45, 0.4]], True),
        ([LEFT], [RIGHT], False),
        ([LEFT], [LEFT, RIGHT], False),
        ([LEFT, [0.01, 0, 0.41, 0.4]], [LEFT, RIGHT], False),
        ([], [], True),
    ],
)
def test_same_faces(one: list[list[float]], other: list[list[float]], same: bool) -> None:
    assert Faces().same(boxes(*one), boxes(*other)) == same


def test_judged_sample_by_sample() -> None:
    nowhere = lambda material: Path()  # noqa: E731
    samples = Samples(lambda: iter(()), 4, np.array([0, 1, 2, 0]))
    case = Case("case", "data", nowhere, lambda m: samples, lambda m: samples, (1, 3), Classes())
    reference = np.eye(3, dtype=np.float32)[[0, 1, 2, 1]]
    found = np.eye(3, dtype=np.float32)[[0, 1, 0, 0]]
    row = judged(case, samples, {"y": found}, {"y": reference})
    assert row["same"]["value"] == 0.5
    assert row["accuracy"]["value"] == 0.75
    assert row["difference"]["value"] == 0.0
    assert row["sqnr_db"] == pytest.approx(0.0)


def test_sqnr() -> None:
    reference = np.full((10, 10), 3.0, np.float32)
    assert sqnr_db([reference + np.float32(0.3)], [reference]) == pytest.approx(20, abs=1e-4)
    assert sqnr_db([reference], [reference]) is None


def row(case: str, method: str, **more: object) -> dict[str, object]:
    third = {"value": 0.5, "low": 0.25, "high": 0.75}
    found = {"case": case, "method": method, "width": "int8", "digest": "d"}
    return {**found, "same": third, "sqnr_db": 30.0, "bytes": 1000, **more}


FACTS = {"command": "made", "methods": {"a": "sa", "b": "sb"}, "data": {"x": "dx"}}


def test_results_go_on_where_they_were(tmp_path: Path) -> None:
    path = tmp_path / "accuracy.json"
    results, beside = Results(path), Results(path)
    for found in row("x", "b"), row("gone", "a"):
        results.add(found, FACTS, ["x", "gone"], ["a", "b"])
    better = {"accuracy": {"value": 0.9}, "difference": {"value": -0.01, "low": -0.02, "high": 0.0}}
    beside.add(row("x", "b", **better), FACTS, ["x", "gone"], ["a", "b"])
    results.add(row("x", "a"), FACTS, ["x"], ["a", "b"])
    again = Results(path)
    assert [(r["case"], r["method"]) for r in again.rows] == [("x", "a"), ("x", "b")]
    assert again.find("x", "b", "d") is not None
    assert again.find("x", "b", "another model") is None
    assert json.loads(path.read_text())["command"] == "made"
    lines = path.with_suffix(".md").read_text().splitlines()
    assert "| x | int8 | b | 90.00 | -1.00 (-2.00 to +0.00) | 50.00 (25.00 to 75.00) | 30.0 | 1 |" in lines


def test_least_accurate_values_are_shown(tmp_path: Path) -> None:
    layers = {f"v{i}": 40.0 - i for i in range(8)}
    Results(tmp_path / "accuracy.json").add(row("x", "a", layers_sqnr_db=layers), FACTS, ["x"], ["a"])
    text = (tmp_path / "accuracy.md").read_text()
    assert "| x | int8 | a | 8 | 36.5 | `v7` 33.0, `v6` 34.0, `v5` 35.0, `v4` 36.0, `v3` 37.0 |" in text
    assert "sa" in text
    assert "sb" not in text


def test_failures_are_shown_and_tried_again(tmp_path: Path) -> None:
    results = Results(tmp_path / "accuracy.json")
    failed = {"case": "x", "method": "a", "width": "int8", "digest": "d", "failed": "no such operator"}
    results.add(failed, FACTS, ["x"], ["a"])
    assert "- x, a: no such operator" in (tmp_path / "accuracy.md").read_text()
    assert results.find("x", "a", "d") is None


def test_every_method_can_be_shown() -> None:
    methods = known()
    assert next(iter(methods)) == REFERENCE
    assert methods[REFERENCE].width == FLOAT
    for method in methods.values():
        assert method.engine in ("onnxruntime", "edgesmith")
        assert method.settings
        json.dumps(dict(method.options))


def test_names_by_their_beginnings() -> None:
    assert named(None, ["ab", "ac", "b"], "case") == ["ab", "ac", "b"]
    assert named("a; b", ["c", "ab", "b", "ac"], "case") == ["ab", "b", "ac"]
    assert named("a", ["ab", "a"], "case") == ["a"]
    with pytest.raises(EdgesmithError, match="no such case"):
        named("z", ["a"], "case")


def test_processes_that_add_at_once_lose_nothing(tmp_path: Path) -> None:
    path, cases = tmp_path / "accuracy.json", [f"x{i}" for i in range(12)]
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        list(pool.map(partial(_add, path, cases), cases))
    assert [r["case"] for r in Results(path).rows] == cases
    assert sorted(p.name for p in tmp_path.iterdir()) == ["accuracy.json", "accuracy.md"]


def _add(path: Path, cases: list[str], case: str) -> None:
    Results(path).add(row(case, "a"), FACTS, cases, ["a"])


def test_revisions_are_told(tmp_path: Path) -> None:
    results = Results(tmp_path / "accuracy.json")
    for case, method, revision in (("x", "a", "0ld"), ("x", "b", "n3w"), ("y", "b", "n3w")):
        results.add(row(case, method, revision=revision), FACTS, ["x", "y"], ["a", "b"])
    first = (tmp_path / "accuracy.md").read_text().splitlines()[0]
    assert first == "Made by `made`. Edgesmith is revision n3w, but for x: a (0ld)."
