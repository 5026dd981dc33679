"""Views against numpy's own strides."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edgesmith.ir import DType, TensorType, View
from edgesmith.ir.view import dense_strides

Draw = Callable[[st.SearchStrategy], object]

shapes = st.lists(st.integers(1, 4), max_size=4).map(tuple)


def elements(view: View) -> np.ndarray:
    """Position in the buffer of every element."""
    index = np.indices(view.shape)
    return view.offset + sum((index[a] * s for a, s in enumerate(view.strides)), np.zeros(view.shape, np.int64))


def strided(buffer: np.ndarray, array: np.ndarray) -> View:
    """The view of a numpy array that is a view of ``buffer``."""
    offset = (array.__array_interface__["data"][0] - buffer.__array_interface__["data"][0]) // buffer.itemsize
    return View(array.shape, tuple(s // buffer.itemsize for s in array.strides), DType.I64, offset)


@st.composite
def placed(draw: Draw) -> tuple[np.ndarray, View]:
    """A numpy view of a buffer that counts up, and the ``View`` of it: permuted, sliced, reversed, broadcast."""
    shape = draw(shapes)
    buffer = np.arange(int(np.prod(shape)))
    array = buffer.reshape(shape).transpose(draw(st.permutations(range(len(shape)))))
    for axis in range(array.ndim):
        start = draw(st.integers(0, array.shape[axis] - 1))
        step = draw(st.sampled_from([1, 1, 2, -1]))
        array = array[(slice(None),) * axis + (slice(start, None, step),)]
    if draw(st.booleans()):
        array = np.broadcast_to(array, (draw(st.integers(1, 3)), *array.shape))
    return array, strided(buffer, array)


@given(placed())
def test_elements_span_and_size(given_: tuple[np.ndarray, View]) -> None:
    array, view = given_
    places = elements(view)
    np.testing.assert_array_equal(places, array)
    assert view.size == array.size
    assert view.span == places.max() - places.min() + 1
    assert view.is_dense(view.order()) == (
        np.unique(places).size == view.span == view.size and places.flat[0] == places.min()
    )


@given(placed(), st.data())
def test_transpose_slice_broadcast(given_: tuple[np.ndarray, View], data: st.DataObject) -> None:
    array, view = given_
    perm = data.draw(st.permutations(range(array.ndim)))
    np.testing.assert_array_equal(elements(view.transpose(perm)), array.transpose(perm))
    starts = [data.draw(st.integers(0, n - 1)) for n in array.shape]
    steps = [data.draw(st.sampled_from([1, 2, -1, -2])) for _ in array.shape]
    taken = array[tuple(slice(b, None, k) for b, k in zip(starts, steps, strict=True))]
    np.testing.assert_array_equal(elements(view.slice(starts, taken.shape, steps)), taken)
    wider = [n if n > 1 else data.draw(st.integers(1, 3)) for n in array.shape]
    lead = data.draw(st.lists(st.integers(1, 3), max_size=2))
    np.testing.assert_array_equal(elements(view.broadcast([*lead, *wider])), np.broadcast_to(array, [*lead, *wider]))


@given(placed(), st.data())
def test_reshape_is_a_view_exactly_where_numpy_needs_no_copy(
    given_: tuple[np.ndarray, View], data: st.DataObject
) -> None:
    array, view = given_
    left, shape = array.size, []
    while left > 1 and len(shape) < 5:
        shape.append(data.draw(st.sampled_from([d for d in range(1, left + 1) if left % d == 0])))
        left //= shape[-1]
    shape.append(left)
    found = view.reshape(shape)
    copied = not np.shares_memory(array.reshape(shape), array)
    if found is None:
        assert copied
    else:
        np.testing.assert_array_equal(elements(found), array.reshape(shape))
        assert not copied or 0 in array.strides


@given(shapes, st.data())
def test_dense_order(shape: tuple[int, ...], data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(shape))))
    view = View.dense(TensorType(shape, DType.F32), order)
    ordered = np.arange(view.size).reshape([shape[a] for a in order]).transpose(np.argsort(order))
    np.testing.assert_array_equal(elements(view), ordered)
    assert view.is_dense(order) and view.is_dense(view.order())
    assert view.strides == dense_strides(shape, order)


def test_empty_and_scalar() -> None:
    empty = View.dense(TensorType((3, 0, 2), DType.F32))
    assert (empty.size, empty.span) == (0, 0)
    assert empty.reshape((0, 7)) == View.dense(TensorType((0, 7), DType.F32))
    scalar = View.dense(TensorType((), DType.F32))
    assert (scalar.size, scalar.span, scalar.order()) == (1, 1, ())
    ones = scalar.reshape((1, 1))
    assert ones is not None and ones.shape == (1, 1) and scalar.broadcast((2, 3)).strides == (0, 0)


def test_same_place_ignores_strides_of_single_elements() -> None:
    a, b = View((1, 4), (7, 1), DType.F32), View((1, 4), (4, 1), DType.F32)
    assert a.same_place(b) and not a.same_place(View((1, 4), (4, 1), DType.F32, 1))
    assert a.is_dense()
