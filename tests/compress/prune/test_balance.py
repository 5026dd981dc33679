"""Units of classes that must be lost evenly, on cells that can be counted by hand."""

import numpy as np
import pytest

from edgesmith.compress.prune.balance import Equal, balanced_units

pytest.importorskip("torch")
pytestmark = pytest.mark.torch


def parts(*ranges, spread=False):
    return Equal(tuple(np.arange(a, b) for a, b in ranges), spread)


def losses(constraint, unit):
    return {sum(label in unit for label in part.tolist()) for part in constraint.parts}


def test_groups_lose_one_each():
    units, stuck = balanced_units([parts((1, 5), (5, 9))], [])
    assert sorted(sorted(unit) for unit in units) == [[1, 5], [2, 6], [3, 7], [4, 8]]
    assert not stuck


def test_groups_that_overlap_lose_evenly_in_both():
    first, second = parts((1, 7), (7, 13)), parts((1, 5), (5, 9), (9, 13))
    units, stuck = balanced_units([first, second], [])
    assert sorted(label for unit in units for label in unit) == list(range(1, 13))
    assert not stuck
    for unit in units:
        assert len(losses(first, unit)) == len(losses(second, unit)) == 1


def test_fixed_classes_keep_their_counterparts():
    units, stuck = balanced_units([parts((1, 4), (4, 7))], [1, 2])
    assert len(units) == 1
    assert {3} < set(units[0])
    assert len(stuck) == 2


def test_interleaved_parts_lose_from_every_cell():
    rows, groups = parts((1, 6), (6, 11), spread=True), parts((1, 4), (4, 11))
    assert balanced_units([rows, groups], []) == ([], set(range(1, 11)))
    rows, groups = parts((1, 6), (6, 11), spread=True), Equal((np.array([1, 2, 3, 6, 7]), np.array([4, 5, 8, 9, 10])))
    units, stuck = balanced_units([rows, groups], [])
    assert [len(unit) for unit in units] == [4, 4]
    assert stuck == {3, 10}


def test_a_class_in_all_parts_is_no_matter():
    both = Equal((np.array([1, 2]), np.array([1, 3])))
    assert balanced_units([both], []) == ([[2, 3]], set())


def test_a_class_twice_in_one_part_stays():
    units, stuck = balanced_units([Equal((np.array([1, 1]), np.array([2, 3])))], [])
    assert (units, stuck) == ([], {1, 2, 3})
