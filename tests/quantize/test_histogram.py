"""Histograms that grow: the same whatever the order, exact in their counts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgesmith.quantize.histogram import BINS, Histogram

numbers = arrays.arrays(
    np.float32,
    st.integers(1, 50),
    elements=st.floats(-(2.0**100), 2.0**100, width=32, allow_subnormal=False),
)


def of(*parts: np.ndarray) -> Histogram:
    histogram = Histogram()
    for part in parts:
        histogram.add(part)
    return histogram


@given(numbers, st.randoms())
def test_order_and_pieces_do_not_matter(x: np.ndarray, random: object) -> None:
    shuffled = list(x)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    whole, pieces = of(x), of(*(np.array([v]) for v in shuffled))
    assert whole.zeros == pieces.zeros
    np.testing.assert_array_equal(whole.counts, pieces.counts)
    np.testing.assert_array_equal(whole.edges, pieces.edges)


@given(numbers)
def test_every_number_lies_in_its_interval(x: np.ndarray) -> None:
    histogram = of(x[: x.size // 2], x[x.size // 2 :])
    assert histogram.counts.size <= BINS
    assert histogram.total == x.size
    nonzero = x[x != 0].astype(np.float64)
    edges = histogram.edges
    for low, high, count in zip(edges[:-1], edges[1:], histogram.counts, strict=True):
        if count:
            assert np.count_nonzero((nonzero >= low) & (nonzero < high)) == count
    assert histogram.counts.sum() == nonzero.size


def test_width_follows_the_largest_magnitude() -> None:
    histogram = of(np.linspace(-1, 3, 1000, dtype=np.float32))
    assert 4 / BINS <= histogram.width <= 8 / BINS
    histogram.add(np.array([1000.0], np.float32))
    assert 1001 / BINS <= histogram.width <= 2 * 1001 / BINS
    assert histogram.total == 1001


def test_state_restores(rng: np.random.Generator) -> None:
    first, second = rng.standard_normal((2, 100)).astype(np.float32)
    half = of(first)
    resumed = Histogram()
    resumed.restore(half.state())
    resumed.add(second)
    np.testing.assert_array_equal(resumed.counts, of(first, second).counts)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
