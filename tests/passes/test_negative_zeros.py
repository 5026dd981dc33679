"""Zeros with a sign in weights."""

from __future__ import annotations

import numpy as np

from edgesmith.ops.gemm import Gemm
from edgesmith.ops.matmul import MatMul
from edgesmith.ops.mul import Mul

from .graphs import Sketch, optimized


def test_masked_weights_lose_the_sign_of_their_zeros() -> None:
    rng = np.random.default_rng(0)
    masked = rng.standard_normal((6, 4)).astype(np.float32) * (rng.random((6, 4)) < 0.5)
    assert np.signbit(masked[masked == 0]).any()
    s = Sketch()
    x = s.input(3, 6)
    before = s.graph(s.add(MatMul(), x, s.constant(masked)), s.add(Gemm(), x, s.constant(2 * masked)))
    after, report = optimized(before)
    assert report.applied["negative-zeros"] == 2
    for node in after.nodes:
        weights = after.constants[node.inputs[1]]
        assert np.count_nonzero(weights) == np.count_nonzero(masked)
        assert not np.signbit(weights[weights == 0]).any()


def test_other_constants_keep_theirs() -> None:
    s = Sketch()
    zeros = np.array([-0.0, 1.0, -0.0], np.float32)
    after, report = optimized(s.graph(s.add(Mul(), s.input(4, 3), s.constant(zeros))))
    assert not report.applied["negative-zeros"]
    assert any(np.signbit(c).sum() == 2 for c in after.constants.values())


def test_dense_weights_stay_as_they_are() -> None:
    weights = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
    weights[0, 0] = -0.0
    s = Sketch()
    _, report = optimized(s.graph(s.add(MatMul(), s.input(3, 6), s.constant(weights))))
    assert not report.applied["negative-zeros"]
