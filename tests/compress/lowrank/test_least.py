"""Bisection over a few points."""

import pytest

from edgesmith.compress.lowrank.least import TRIALS, least, spaced

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("most", [1, 2, 15, 16, 17, 100, 2290])
def test_points_are_few_and_end_at_the_largest(most):
    points = spaced(most)
    assert points == sorted(set(points))
    assert 1 <= points[0] <= -(-most // TRIALS)
    assert points[-1] == most
    assert len(points) == min(most, TRIALS)


def test_first_point_that_suffices():
    for bound in range(1, 12):
        assert least(range(1, 11), lambda n, bound=bound: n >= bound) == (bound if bound < 11 else None)
    assert least([], lambda n: True) is None
