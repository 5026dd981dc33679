"""Reduced precision is told from another order of summation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import runtimes
from edgesmith.bench.precision import Exact, evaluate, relative_error, round_to_reduced
from edgesmith.frontend.onnx import read

GRAPH = read(runtimes.model())
W = next(iter(GRAPH.constants.values()))


def half(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float16).astype(np.float32)


def bfloat16(x: np.ndarray) -> np.ndarray:
    return (x.view(np.uint32) + 0x8000 & 0xFFFF0000).view(np.float32)


@given(st.integers(0, 2**32 - 1), st.floats(1e-3, 1e3))
def test_limit_separates_precisions(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    x = (rng.standard_normal((4, runtimes.DEPTH)) * scale).astype(np.float32)
    exact = evaluate(GRAPH, {"x": x})
    (right,) = exact.outputs.values()
    assert right.dtype == np.float64
    assert relative_error([np.maximum(x.astype(np.float64) @ W, 0)], [right]) < 1e-14
    order = rng.permutation(runtimes.DEPTH)
    shuffled = np.maximum(np.cumsum((x[:, order, None] * W[order]), axis=1, dtype=np.float32)[:, -1], 0)
    assert relative_error([shuffled], [right]) <= exact.limit / 64
    for rounded in (half, bfloat16, round_to_reduced):
        scaled = (x / np.float32(scale)).astype(np.float32)
        reduced = np.maximum(rounded(scaled) @ rounded(W), 0) * np.float32(scale)
        assert relative_error([reduced], [right]) > exact.limit


def test_zeros_are_no_result_of_a_quantised_model() -> None:
    right = np.array([[0.5, -2.0]])
    exact = Exact({"y": right}, reduced=1e-3, quantized=True)
    assert relative_error([right + 1.0], [right]) <= exact.limit
    assert not relative_error([np.zeros_like(right)], [right]) <= exact.limit


def test_rounding_keeps_eleven_bits() -> None:
    x = np.array([1.0, 1 + 2.0**-10, 1 + 2.0**-11, 1 + 2.0**-12, -3.0, 0.0, 65504.0], np.float32)
    assert round_to_reduced(x).tolist() == [1.0, 1 + 2.0**-10, 1 + 2.0**-10, 1.0, -3.0, 0.0, 65504.0]


@pytest.mark.parametrize("wrong", [np.full((2, 2), np.nan), np.zeros(3), np.full((2, 2), np.inf)])
def test_what_cannot_be_compared_is_infinitely_wrong(wrong: np.ndarray) -> None:
    assert relative_error([wrong], [np.ones((2, 2))]) == float("inf")
