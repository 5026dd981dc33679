"""Intervals against published figures."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.accuracy.intervals import design_effect, difference, share


def paired(both: int, first: int, second: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    ours = np.repeat([True, True, False, False], [both, first, second, neither])
    reference = np.repeat([True, False, True, False], [both, first, second, neither])
    return ours, reference


def test_wilson_as_published() -> None:
    """81 of 263: Newcombe, Statistics in Medicine 17 (1998), 857-872, Wilson without continuity correction."""
    found = share(np.arange(263) < 81)
    assert (found.low, found.high) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_paired_difference_as_published() -> None:
    """36, 12, 2, 0: Newcombe, Statistics in Medicine 17 (1998), 2635-2650, method 10."""
    found = difference(*paired(36, 12, 2, 0))
    assert found.value == pytest.approx(0.2)
    assert (found.low, found.high) == pytest.approx((0.0569, 0.3404), abs=5e-5)


def test_swapping_the_two_mirrors_the_interval() -> None:
    ours, reference = paired(50, 7, 3, 11)
    found, mirrored = difference(ours, reference), difference(reference, ours)
    assert (found.low, found.high) == pytest.approx((-mirrored.high, -mirrored.low))


@pytest.mark.parametrize("hits", [0, 40])
def test_extremes_keep_a_width(hits: int) -> None:
    found = share(np.arange(40) < hits)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.high - found.low == pytest.approx(0.0876, abs=1e-4)  # z² / (n + z²)


def test_interval_covers_the_true_difference() -> None:
    """Over many drawn samples about 95 in 100 intervals hold the truth."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(600):
        reference = rng.random(200) < 0.8
        ours = np.where(rng.random(200) < 0.1, rng.random(200) < 0.5, reference)
        found = difference(ours, reference)
        held += found.low <= 0.1 * (0.5 - 0.8) <= found.high
    assert 0.93 < held / 600 <= 1


def test_equal_members_count_as_one() -> None:
    rng = np.random.default_rng(1)
    values = rng.random(30) < 0.5
    groups = np.repeat(np.arange(30), 10)
    grouped, once = share(np.repeat(values, 10), groups), share(values)
    assert (grouped.low, grouped.high) == pytest.approx((once.low, once.high))


def test_design_effect_of_independent_members_is_near_one() -> None:
    values = np.random.default_rng(2).random(20000)
    assert design_effect(values, np.repeat(np.arange(2000), 10)) == pytest.approx(1.0, abs=0.15)


def test_groups_in_which_nothing_varies_count_as_one_sample() -> None:
    assert design_effect(np.ones(40), np.repeat(np.arange(4), 10)) == 10
