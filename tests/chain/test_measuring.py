"""Times of programs: those of a slow spell are taken again."""

from __future__ import annotations

from pathlib import Path
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
