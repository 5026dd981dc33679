"""What long work says where there is no terminal."""

from __future__ import annotations

import pytest

from edgesmith.cli import progress


def test_long_work_says_from_time_to_time_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress.briefly() as report:
        for i in range(100):
            now[0] += 1.0
            report("candidates", i, 100)
    assert capsys.readouterr().err.splitlines() == [f"candidates: {n} of 100" for n in (29, 59, 89)]


def test_short_work_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.briefly() as report:
        for i in range(101):
            report("candidates", i, 100)
    assert not capsys.readouterr().err
