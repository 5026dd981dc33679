"""Resize: rounding near the middle, errors."""

from __future__ import annotations

import numpy as np
import pytest

from edgesmith.errors import ModelError, UnsupportedOp

from .single_node import SingleNode, check_reference


@pytest.mark.parametrize("mode", ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
@pytest.mark.parametrize("middle", [0.5, 1.0, 2.5, 6.5])
def test_nearest_near_a_tie(mode: str, middle: float) -> None:
    """Coordinates up to 40 ULP around a tie, reached through the region of interest of a one-element output."""
    x = np.arange(9, dtype=np.float32)
    attributes = {"mode": "nearest", "coordinate_transformation_mode": "tf_crop_and_resize", "nearest_mode": mode}
    ulp = np.spacing(np.float32(middle / 8))
    for steps in (-40, -8, -3, -2, -1, 0, 1, 2, 3, 8, 40):
        roi = np.full(2, np.float32(middle / 8) + steps * ulp, np.float32)
        check_reference(SingleNode("Resize", attributes, [x, roi, None, np.array([1])], frozenset({1, 3})))


def test_same_shape_is_a_copy_whatever_the_scales() -> None:
    x = np.arange(4, dtype=np.float32).reshape(1, 4)
    scales = np.array([1, 1.2], np.float32)
    case = SingleNode("Resize", {"mode": "linear"}, [x, None, scales], frozenset({2}))
    check_reference(case)
    np.testing.assert_array_equal(case.reference()[0], x)


def test_antialias_is_refused() -> None:
    x = np.zeros((1, 1, 4, 4), np.float32)
    scales = np.array([1, 1, 0.5, 0.5], np.float32)
    case = SingleNode("Resize", {"mode": "linear", "antialias": 1}, [x, None, scales], frozenset({2}))
    with pytest.raises(UnsupportedOp, match="antialias"):
        _ = case.graph


@pytest.mark.parametrize(
    ("scales", "sizes"),
    [([0.0, 1.0], None), ([np.nan, 1.0], None), ([1.0], None), (None, [0, 4]), (None, [3]), ([2.0, 2.0], [8, 8])],
)
def test_nonsense_is_refused(scales: list[float] | None, sizes: list[int] | None) -> None:
    operands = [None if scales is None else np.array(scales, np.float32), None if sizes is None else np.array(sizes)]
    constant = frozenset(i + 2 for i, o in enumerate(operands) if o is not None)
    with pytest.raises(ModelError):
        _ = SingleNode("Resize", {}, [np.zeros((4, 4), np.float32), None, *operands], constant).graph


def test_linear_interpolation_of_integers_is_refused() -> None:
    scales = np.array([1, 2], np.float32)
    case = SingleNode("Resize", {"mode": "linear"}, [np.zeros((4, 4), np.uint8), None, scales], frozenset({2}))
    with pytest.raises(UnsupportedOp, match="u8"):
        _ = case.graph
