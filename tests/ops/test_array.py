"""C text of elements: 64-bit arithmetic where 32 bits would overflow; coordinates of tasks."""

from __future__ import annotations

import pytest

from edgesmith.c.writer import Writer
from edgesmith.ir import DType, View
from edgesmith.ops import Array


def test_small_views_use_plain_indices() -> None:
    array = Array("x", View((2, 3, 4), (12, 4, 1), DType.F32))
    assert array.at("i", "j + 1", "k") == "x[i * 12 + (j + 1) * 4 + k]"
    assert array.at(0, "0", 3) == "x[3]"


@pytest.mark.parametrize(("span", "wide"), [(2**31 - 1, False), (2**31, True)])
def test_wide_views_compute_in_64_bits(span: int, wide: bool) -> None:
    """The largest index of a view is its span - 1, the largest int32 is 2**31 - 1."""
    array = Array("x", View((2, 2), (span - 2, 1), DType.F32))
    assert array.view.span == span
    cast = "(int64_t)" if wide else ""
    assert array.at("i", "j") == f"x[{cast}i * {span - 2} + {cast}j]"


def test_backward_views_count_both_directions() -> None:
    array = Array("x", View((3, 2**30), (-(2**30), 1), DType.U8))
    assert "(int64_t)i" in array.at("i", "j")


def test_unravel_leaves_no_unused_variable() -> None:
    w = Writer()
    w.unravel("task", [("n", 1), ("c", 5), ("h", 7)])
    assert w.text().splitlines() == [
        "const int32_t h = task % 7;",
        "const int32_t c = task / 7;",
        "enum { n = 0 };",
    ]
