"""Offsets in generated C."""

from __future__ import annotations

from edgesmith.ir import DType, TensorType, View
from edgesmith.kernels.epilogue import strided

INDEX = [(0, "n"), (1, "channel"), (2, "oh"), (3, "0")]


def test_offsets_leave_out_what_is_zero() -> None:
    view = View.dense(TensorType((2, 8, 5, 6), DType.F32), (0, 2, 3, 1))
    assert strided(view, INDEX) == "n * 240 + channel + oh * 48"
    assert strided(view.broadcast((2, 8, 5, 6)), [(1, "panel * 16")]) == "(panel * 16)"
    assert strided(View.dense(TensorType((1, 8, 1, 1), DType.F32)).broadcast((2, 8, 5, 6)), INDEX) == "channel"
    assert strided(View.dense(TensorType((1, 1, 1, 1), DType.F32)), INDEX) == "0"


def test_offsets_into_more_than_2_gi_elements_are_64_bits_wide() -> None:
    view = View.dense(TensorType((1, 64, 8192, 8192), DType.F32), (0, 2, 3, 1))
    assert strided(view, INDEX) == "(ptrdiff_t)channel + (ptrdiff_t)oh * 524288"
    assert "(ptrdiff_t)(row + 1) * " in strided(view, [(2, "row + 1")])
    reversed_ = view.slice((0, 0, 8191, 0), view.shape, (1, 1, -1, 1))
    assert strided(reversed_, [(2, "oh")]) == "(ptrdiff_t)oh * -524288"
