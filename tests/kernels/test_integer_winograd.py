"""Exactness of Winograd convolutions of integers, and where they are refused."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesmith.ir import DType, TensorType
from edgesmith.kernels import KERNELS, Problem, Reject
from edgesmith.kernels.integer.winograd_form import integer_form
from edgesmith.ops.base import Case
from edgesmith.ops.integer_products import ConvInteger
from edgesmith.ops.window import Window
from edgesmith.target import parse
from edgesmith.toolchain import zig
from edgesmith.tune.trial import Trial, TrialLibrary

from .problems import case_graph, places, requantized

KERNEL = KERNELS["integer-winograd"]
FORMS = [(2, 2, 1), (4, 2, 1), (2, 3, 1), (4, 3, 1), (2, 3, 2), (4, 3, 2), (1, 1, 1)]


def matrix(rows: tuple[tuple[Fraction, ...], ...]) -> np.ndarray:
    assert all(c.denominator == 1 for row in rows for c in row)
    return np.array([[int(c) for c in row] for row in rows], object)


@pytest.mark.parametrize(("m", "r", "stride"), FORMS)
@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_a_form_is_a_multiple_of_the_correlation(m: int, r: int, stride: int, data: st.DataObject) -> None:
    form = integer_form(m, r, stride)
    t = form.transform
    numbers = st.integers(-255, 255)
    taps = np.array(data.draw(st.lists(numbers, min_size=r, max_size=r)), object)
    size = (m - 1) * stride + r
    inputs = np.array(data.draw(st.lists(numbers, min_size=size, max_size=size)), object)
    products = (matrix(t.kernel) @ taps) * (matrix(t.input) @ inputs)
    expected = [sum(taps[k] * inputs[i * stride + k] for k in range(r)) for i in range(m)]
    assert list(matrix(t.output) @ products) == [form.multiple * e for e in expected]


def problem(weights: np.ndarray, size: int = 9, dtype: DType = DType.U8, zero: int = 3, stride: int = 1) -> Problem:
    lines, columns = weights.shape[2:]
    pads = (lines // 2, columns // 2)
    op = ConvInteger(Window((lines, columns), (stride, stride), pads, pads, (1, 1)), 1)
    x = TensorType((1, weights.shape[1], size, size), dtype)
    graph = requantized(case_graph(Case(op, (x, weights, np.array(zero, dtype.numpy)), "integers")))
    assert graph is not None
    region = next(iter(KERNEL.regions(graph, graph.nodes[0])))
    return Problem(graph, region, places(graph, "channels_last"), parse("native"))


@pytest.mark.toolchain
@pytest.mark.parametrize("dtype", [DType.U8, DType.I8])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("sign", [-1, 1])
def test_largest_numbers_do_not_overflow(dtype: DType, stride: int, sign: int) -> None:
    """Sums reach far beyond what 32 bits hold of the multiples that are computed."""
    weights = np.full((16, 112, 3, 3), 127 * sign, np.int8)
    zero = 0 if dtype is DType.U8 else -128
    found = problem(weights, dtype=dtype, zero=zero, stride=stride)
    assert KERNEL.accepts(found) is None
    trials = [Trial(found, KERNEL, s) for s in KERNEL.schedules(found)[::8]]
    library = TrialLibrary(trials, found.target, zig())
    graph = found.graph
    low, high = (0, 255) if dtype is DType.U8 else (-128, 127)
    rng = np.random.default_rng(3)
    for x in (np.full((1, 112, 9, 9), high), rng.choice([low, high], (1, 112, 9, 9))):
        feeds = {"in0": x.astype(dtype.numpy)}
        node = graph.nodes[0]
        (want,) = node.op.reference(feeds["in0"], *(graph.constants[v] for v in node.read[1:]))
        for i in range(len(trials)):
            np.testing.assert_array_equal(library.run(i, feeds)[node.outputs[0]], want)


def test_sums_beyond_what_the_division_leaves_are_refused() -> None:
    """F(4, 3) on both axes loses 6 bits: 26 are left, and 255 * 127 * 9 * 128 needs one more; F(2, 3) loses 2."""
    found = problem(np.full((16, 128, 3, 3), 127, np.int8), zero=0)
    forms = {(s["height"], s["width"]) for s in KERNEL.schedules(found)}
    assert (4, 4) not in forms and (2, 2) in forms
    small = problem(np.full((16, 128, 3, 3), 100, np.int8), zero=0)
    assert (4, 4) in {(s["height"], s["width"]) for s in KERNEL.schedules(small)}


def test_wide_weights_are_refused_where_they_leave_16_bits() -> None:
    node_weights = np.full((8, 4, 3, 3), 255, np.uint8)
    op = ConvInteger(Window((3, 3), (1, 1), (1, 1), (1, 1), (1, 1)), 1)
    zeros = (np.array(0, np.uint8), np.array(0, np.uint8))
    graph = case_graph(Case(op, (TensorType((1, 4, 9, 9), DType.U8), node_weights, *zeros), "wide"))
    region = next(iter(KERNEL.regions(graph, graph.nodes[0])))
    found = Problem(graph, region, places(graph, "channels_last"), parse("native"))
    assert (4, 4) not in {(s["height"], s["width"]) for s in KERNEL.schedules(found)}


def test_a_dilated_window_is_refused() -> None:
    op = ConvInteger(Window((3, 3), (1, 1), (2, 2), (2, 2), (2, 2)), 1)
    weights = np.ones((8, 4, 3, 3), np.int8)
    graph = case_graph(Case(op, (TensorType((1, 4, 9, 9), DType.U8), weights), "dilated"))
    region = next(iter(KERNEL.regions(graph, graph.nodes[0])))
    reject = KERNEL.accepts(Problem(graph, region, places(graph, "channels_last"), parse("native")))
    assert isinstance(reject, Reject) and "dilation 2x2" in reject.reason
