"""Interleaved rounds."""

from __future__ import annotations

import time
from itertools import groupby

import pytest

from edgesmith.bench.timing import Times, interleaved


def test_rounds_alternate() -> None:
    calls: list[str] = []

    def work(name: str) -> None:
        calls.append(name)
        time.sleep(0.002)

    taken = interleaved({"a": lambda: work("a"), "b": lambda: work("b")}, rounds=4, round_seconds=0.01)
    order = [name for name, _ in groupby(calls)]
    assert order[-8:] == ["a", "b"] * 4
    for times in taken.values():
        assert len(times.rounds) == 4
        assert min(times.runs) >= 2e6


def test_ratio_of_known_times() -> None:
    work = {"slow": lambda: time.sleep(0.02), "fast": lambda: time.sleep(0.005)}
    taken = interleaved(work, rounds=3, round_seconds=0.04)
    assert 2.5 < taken["slow"].median / taken["fast"].median < 4.1


def test_statistics() -> None:
    times = Times((1e6, 2e6, 3e6, 4e6, 100e6), (2e6,))
    assert times.median == 3e6
    assert times.least == 1e6
    assert times.spread == pytest.approx((4e6 - 2e6) / 3e6)
    assert times.to_json()["median_ms"] == 3


def test_progress_is_told() -> None:
    heard: list[tuple[int, int]] = []
    interleaved({"a": lambda: None}, rounds=3, round_seconds=0.0, progress=lambda i, n: heard.append((i, n)))
    assert heard == [(1, 3), (2, 3), (3, 3)]
