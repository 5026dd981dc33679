"""Interleaved rounds."""

from __future__ import annotations

import time
from functools import partial
from itertools import groupby

import pytest

from edgesmith.bench.timing import Times, interleaved, timer


def test_rounds_alternate() -> None:
    calls: list[str] = []

    def work(name: str) -> None:
        calls.append(name)
        time.sleep(0.002)

    pieces = {name: timer(partial(work, name)) for name in "ab"}
    taken = interleaved(pieces, rounds=4, round_seconds=0.01)
    order = [name for name, _ in groupby(calls)]
    assert order[-8:] == ["a", "b"] * 4
    for times in taken.values():
        assert len(times.rounds) == 4
        assert min(times.runs) >= 2e6


def test_ratio_of_known_times() -> None:
    work = {"slow": lambda n: [4e6] * n, "fast": lambda n: [1e6] * n}
    taken = interleaved(work, rounds=3)
    assert taken["slow"].over(taken["fast"]) == 4


def test_ratio_ignores_a_slow_spell_that_meets_both() -> None:
    mine = Times(((1.0, 1.0), (5.0, 5.0), (1.0, 1.0)))
    theirs = Times(((2.0, 2.0), (10.0, 10.0), (2.0, 2.0)))
    assert theirs.over(mine) == 2


def test_first_run_of_a_round_is_not_counted() -> None:
    taken = interleaved({"a": lambda n: [9e9, *[1e9] * (n - 1)]}, rounds=2)
    assert set(taken["a"].runs) == {1e9}


def test_statistics() -> None:
    times = Times(((1e6, 2e6, 3e6), (4e6, 100e6)))
    assert times.median == 3e6
    assert times.least == 1e6
    assert times.spread == pytest.approx((4e6 - 2e6) / 3e6)
    assert times.round_medians == (2e6, 52e6)
    assert times.to_json()["median_ms"] == 3
    assert Times.from_json(times.to_json()) == times


def test_rounds_go_on_until_enough_time_has_passed() -> None:
    pieces = {"a": timer(partial(time.sleep, 0.001))}
    (taken,) = interleaved(pieces, rounds=2, round_seconds=0.002, seconds=0.2).values()
    assert len(taken.rounds) > 2
    (taken,) = interleaved(pieces, rounds=2, round_seconds=0.002, seconds=0.001).values()
    assert len(taken.rounds) == 2


def test_progress_is_told() -> None:
    heard: list[tuple[int, int]] = []
    interleaved({"a": timer(lambda: None)}, rounds=3, round_seconds=0.0, progress=lambda i, n: heard.append((i, n)))
    assert heard == [(1, 3), (2, 3), (3, 3)]
