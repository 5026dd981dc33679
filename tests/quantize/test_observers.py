"""Observers: ranges of known distributions, bounds that hold for any data, state."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgesmith.quantize.observers import OBSERVERS, Observer
from edgesmith.quantize.scales import activation_parameters
from edgesmith.quantize.settings import Settings

METHODS = ("entropy", "l3", "min-max", "moving-average", "mse", "percentile")
RNG = np.random.default_rng(5)
NORMAL = RNG.standard_normal(100_000).astype(np.float32)
OUTLIER = np.append(NORMAL, np.float32(1000))


def watched(name: str, *samples: np.ndarray, **settings: object) -> Observer:
    watcher = OBSERVERS[name](Settings(observer=name, **settings))  # type: ignore[arg-type]
    for x in samples:
        watcher.observe(x)
    return watcher


def error(x: np.ndarray, range: tuple[float, float], exponent: int) -> float:
    q = activation_parameters(range, Settings())
    return float(np.mean(np.abs(x - q.dequantize(q.quantize(x))).astype(np.float64) ** exponent))


def test_all_methods_are_registered() -> None:
    assert sorted(OBSERVERS) == sorted(METHODS)


@pytest.mark.parametrize("method", METHODS)
@given(
    arrays.arrays(np.float32, st.integers(1, 40), elements=st.floats(-(2.0**100), 2.0**100, width=32)),
)
@settings(max_examples=15, deadline=None)
def test_the_range_never_exceeds_what_was_seen(method: str, x: np.ndarray) -> None:
    low, high = watched(method, x).range()
    assert min(x.min(), 0) <= low <= high <= max(x.max(), 0) or (low, high) == (x.min(), x.max())


@pytest.mark.parametrize("method", METHODS)
def test_an_interrupted_observer_goes_on(method: str) -> None:
    parts = np.array_split(RNG.standard_normal(2000).astype(np.float32) * 3, 7)
    half = watched(method, *parts[:4])
    resumed = OBSERVERS[method](half.settings)
    resumed.restore(half.state())
    for part in parts[4:]:
        resumed.observe(part)
    assert resumed.range() == watched(method, *parts).range()


@pytest.mark.parametrize("method", ["entropy", "l3", "min-max", "mse", "percentile"])
def test_order_does_not_matter(method: str) -> None:
    parts = [RNG.standard_normal(50).astype(np.float32) * 10**i for i in range(4)]
    found = {watched(method, *order).range() for order in itertools.permutations(parts)}
    assert len(found) == 1


def test_min_max_keeps_everything() -> None:
    assert watched("min-max", NORMAL, OUTLIER).range() == (float(NORMAL.min()), 1000.0)


def test_moving_average_is_that_of_samples() -> None:
    samples = [np.array([-1, 1], np.float32), np.array([-2, 5], np.float32)]
    assert watched("moving-average", *samples, momentum=0.5).range() == (-1.5, 3.0)


@pytest.mark.parametrize("percentile", [99.0, 99.9])
def test_percentile_cuts_its_share(percentile: float) -> None:
    low, high = watched("percentile", NORMAL, percentile=percentile).range()
    cut = 1 - percentile / 100
    assert np.mean((low > NORMAL) | (high < NORMAL)) == pytest.approx(cut, rel=0.1)
    assert -low == pytest.approx(high, rel=0.05)


def test_percentile_of_rectified_numbers_cuts_above_only() -> None:
    x = np.maximum(NORMAL, 0)
    low, high = watched("percentile", x, percentile=99.0).range()
    assert low == 0
    assert np.mean(x > high) == pytest.approx(0.01, rel=0.1)


@pytest.mark.parametrize(("method", "exponent"), [("mse", 2), ("l3", 3)])
def test_the_error_is_no_worse_than_that_of_any_share_of_the_range(method: str, exponent: int) -> None:
    for x in (NORMAL, OUTLIER, np.maximum(NORMAL, 0), RNG.laplace(size=50_000).astype(np.float32)):
        best = error(x, watched(method, x).range(), exponent)
        shares = [error(x, (float(x.min()) * f, float(x.max()) * f), exponent) for f in np.linspace(0.05, 1, 96)]
        assert best <= min(shares) * 1.02


def test_entropy_leaves_a_lone_outlier_out() -> None:
    low, high = watched("entropy", OUTLIER).range()
    assert high < 500
    assert low < -3 and high > 3


def test_entropy_keeps_evenly_spread_numbers() -> None:
    x = np.linspace(0, 6, 100_000, dtype=np.float32)
    low, high = watched("entropy", x).range()
    assert low == 0
    assert high == pytest.approx(6, rel=0.02)
