"""Times of programs: those of a slow spell are taken again."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chain.conftest import torch
from edgesmith.bench.timing import Times
from edgesmith.chain import measuring
from edgesmith.chain.measuring import ATTEMPTS, Bench
from edgesmith.chain.recipe import TargetSpec

pytestmark = pytest.mark.torch
assert torch


def spread(median: float, share: float) -> Times:
    """Of rounds whose middle half is ``share`` of the median wide."""
    half = median * share / 2
    return Times(((median - half, median - half, median, median + half, median + half),) * 7)


def bench(monkeypatch: pytest.MonkeyPatch, attempts: list[dict[str, Times]]) -> Bench:
    left = iter(attempts)
    monkeypatch.setattr(measuring, "on_this_machine", lambda *_: next(left))
    return Bench(TargetSpec(), lambda *_: None)


PROGRAMS: dict[str, Any] = {"whole": (None, Path()), "small": (None, Path())}


def test_times_of_a_slow_spell_are_taken_again(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = {"whole": spread(9e6, 0.1), "small": spread(4e6, 0.3)}
    calm = {"whole": spread(8e6, 0.01), "small": spread(2e6, 0.02)}
    assert bench(monkeypatch, [slow, calm]).milliseconds(PROGRAMS) == {"whole": 8.0, "small": 2.0}


def test_the_calmest_counts_where_no_spell_is_calm(monkeypatch: pytest.MonkeyPatch) -> None:
    spells = [
        {"whole": spread(8e6, 0.1 * (1 + (i + 2) % ATTEMPTS)), "small": spread((i + 1) * 1e6, 0.1)} for i in range(9)
    ]
    found = bench(monkeypatch, spells).milliseconds(PROGRAMS)
    assert found == {"whole": 8.0, "small": pytest.approx(4.0)}


@pytest.fixture
def beside(monkeypatch: pytest.MonkeyPatch) -> list[float | None]:
    """What other programs take during each measurement."""
    shares: list[float | None] = []

    class Told:
        def __enter__(self) -> Told:
            self.share = shares.pop(0)
            return self

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(measuring, "OtherWork", Told)
    return shares


ARTIFACT: Any = SimpleNamespace(manifest={"build": "a", "lock": "b"})


def test_times_are_kept_with_what_ran_beside(
    monkeypatch: pytest.MonkeyPatch, beside: list[float | None], tmp_path: Path
) -> None:
    programs = {"whole": (ARTIFACT, Path())}
    made = bench(monkeypatch, [{"whole": spread(8e6, 0.01)}, {"whole": spread(7e6, 0.01)}])
    beside += [0.5, 0.0]
    first = made.kept_times(tmp_path / "times.json", programs)
    assert (first.milliseconds, first.other_work) == ({"whole": 8.0}, 0.5)
    assert made.kept_times(tmp_path / "times.json", programs) == first
    (tmp_path / "times.json").unlink()
    again = made.kept_times(tmp_path / "times.json", programs)
    assert (again.milliseconds, again.other_work) == ({"whole": 7.0}, 0.0)


def test_what_runs_here_does_not_matter_to_a_model_of_another_core(
    monkeypatch: pytest.MonkeyPatch, beside: list[float | None], tmp_path: Path
) -> None:
    made = Bench(TargetSpec("stm32f746"), lambda *_: None)
    monkeypatch.setattr(made, "milliseconds", lambda programs: {"whole": 3.0})
    beside.append(0.9)
    assert made.kept_times(tmp_path / "times.json", {"whole": (ARTIFACT, Path())}).other_work is None
