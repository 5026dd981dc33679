"""Tuning with real compilers: times, locks, artifacts that repeat byte for byte."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from edgesmith import api, knobs
from edgesmith.device.artifact import LOCK, MANIFEST, sha256
from edgesmith.errors import BadInput, TargetError
from edgesmith.kernels import Code
from edgesmith.plan import make_plan
from edgesmith.target import parse, this_processor
from edgesmith.toolchain import zig
from edgesmith.tune import Database
from edgesmith.tune.timer import BY_COMPILER, Times, TrialTimer
from edgesmith.tune.trial import Trial
from small_networks import residual_network

from .networks import graph_of

pytestmark = pytest.mark.toolchain


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "times.sqlite"
    monkeypatch.setenv(knobs.TUNING_DB.name, str(path))
    return path


def hashes(folder: Path) -> dict[str, str]:
    return dict(json.loads((folder / MANIFEST).read_text())["files"])


def test_every_trial_is_timed_and_code_that_does_not_compile_is_not() -> None:
    target = parse("native")
    steps = make_plan(graph_of(residual_network()), target).steps[:3]
    good = [Trial(s.problem, s.kernel, s.schedule) for s in steps]
    bad = Trial(steps[0].problem, steps[0].kernel, steps[0].schedule)
    bad.__dict__["code"] = replace(bad.code, text="this is no C\n")
    assert isinstance(bad.code, Code)
    timer = TrialTimer(target, zig(), this_processor())
    (first, second), (third,), (fourth,) = timer.time([[good[0], bad], [good[1]], [good[2]]])
    assert second == BY_COMPILER
    for times in (first, third, fourth):
        assert isinstance(times, Times) and 0 < times.least <= times.median and times.spread >= 0


def test_a_lock_repeats_a_build_byte_for_byte(tmp_path: Path, database: Path) -> None:
    model = residual_network()
    told = []
    tuned = api.tune(model, budget_seconds=15, progress=told.append)
    assert tuned.status.measured > 0 and told
    with Database(database) as kept:
        assert sum(count for _, _, count in kept.environments()) == tuned.status.measured
    lock = tmp_path / "lock.json"
    lock.write_text(tuned.plan.lock.to_json())
    one = api.compile(model, lock=lock, output=tmp_path / "one", name="m", cache=False)
    assert (one.path / LOCK).read_text() == lock.read_text()
    cached = api.compile(model, output=tmp_path / "cached", name="m", cache=False)
    assert (cached.path / LOCK).read_text() == lock.read_text()
    assert {s["least_ns"] for rows in cached.times.values() for s in rows}
    database.unlink()
    other = api.compile(model, lock=one.path / LOCK, output=tmp_path / "other", name="m", cache=False)
    assert hashes(other.path) == hashes(one.path)
    assert sha256(other.path / LOCK) == hashes(one.path)[LOCK]


def test_compiling_can_tune_first(tmp_path: Path, database: Path) -> None:
    artifact = api.compile(
        residual_network(), tune="full", budget_seconds=10, forbid=["gemm"], output=tmp_path / "out", verify=False
    )
    assert artifact.times and database.is_file()
    assert "gemm" not in {s["kernel"] for s in artifact.manifest["steps"]}
    measured = {row["kernel"] for rows in artifact.times.values() for row in rows}
    assert "gemm" not in measured


def test_what_cannot_be_measured_here_is_refused(database: Path) -> None:
    with pytest.raises(TargetError, match="cannot be measured here"):
        api.tune(residual_network(), target="aarch64-linux-gnu")
    with pytest.raises(BadInput, match="no kernel 'magic'"):
        api.tune(residual_network(), only=["magic"])
    with pytest.raises(BadInput, match="no kernel 'magic'"):
        api.compile(residual_network(), forbid=["magic"])


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": "x"}', '{"format": "edgesmith-lock-1"}', "\x00\xff"])
def test_a_file_that_is_no_lock_is_explained(tmp_path: Path, text: str) -> None:
    path = tmp_path / "lock.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(BadInput) as error:
        api.compile(residual_network(), lock=path, output=tmp_path / "out")
    assert str(path) in str(error.value) and "edgesmith tune" in str(error.value)
    with pytest.raises(BadInput, match="cannot be read"):
        api.compile(residual_network(), lock=tmp_path / "absent.json")
