"""Layers that there is nothing to learn from stay as they were."""

from __future__ import annotations

import numpy as np
import pytest

from edgesmith.ops.gemm import Gemm
from edgesmith.ops.relu import Relu
from edgesmith.quantize import Settings, open_samples, quantize
from edgesmith.quantize.recovery import RECOVERIES
from passes.graphs import Sketch

from .networks import conv

METHODS = sorted(RECOVERIES)


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("method", METHODS)
def test_results_that_overflow(method: str) -> None:
    s = Sketch()
    x = s.input(1, 4)
    bias = s.random(4)
    huge = s.add(Gemm(), x, s.constant(np.full((4, 4), 3e38, np.float32)), bias)
    kept = s.add(Gemm(), s.add(Relu(), x), s.random(4, 3), s.random(3))
    samples = open_samples([np.ones((1, 4), np.float32) * i for i in range(1, 10)], {x: s.types[x]})
    found = quantize(s.graph(huge, kept), samples, Settings(recovery=(method,)), compared=0)
    assert all(np.isfinite(a).all() for a in found.graph.constants.values())
    node = next(n for n in found.draft.graph.nodes if n.outputs == (huge,))
    assert np.array_equal(found.draft.graph.constants[node.inputs[2]], s.constants[bias])


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("method", METHODS)
def test_channels_that_are_zero(method: str) -> None:
    s = Sketch()
    x = s.input(1, 3, 4, 4)
    weights = s.rng.standard_normal((4, 3, 1, 1)).astype(np.float32)
    weights[1:3] = 0
    y = s.add(Relu(), s.add(conv(), x, s.constant(weights), s.constant(np.zeros(4, np.float32))))
    graph = s.graph(s.add(conv(), y, s.random(5, 4, 1, 1)), s.add(conv(), y, s.constant(np.zeros((2, 4, 1, 1), "f4"))))
    data = [s.rng.standard_normal((1, 3, 4, 4)).astype(np.float32) for _ in range(8)]
    found = quantize(graph, open_samples(data, {x: s.types[x]}), Settings(recovery=(method,), weight_bits=4))
    assert all(np.isfinite(a).all() for a in found.graph.constants.values())
    assert found.outputs[graph.outputs[1]].noise == pytest.approx(0, abs=1e-12)
