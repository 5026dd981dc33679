"""What rounding one part of a network does to its outputs."""

from __future__ import annotations

import numpy as np
import pytest

from edgesmith.ir import DType, Graph
from edgesmith.ops.relu import Relu
from edgesmith.ops.softmax import Softmax
from edgesmith.quantize import Settings
from edgesmith.quantize.products import Product, product
from edgesmith.quantize.recovery.output_noise import OutputNoise
from edgesmith.quantize.scales import value_parameters, weight_parameters
from passes.graphs import Sketch

from .networks import conv, feeds

RUNS = 6
X = value_parameters((-4.0, 4.0), DType.U8)


def network(*, softmax: bool = False) -> Graph:
    sketch = Sketch()
    x = sketch.add(Relu(), sketch.add(conv(3), sketch.input(1, 3, 4, 4), sketch.random(4, 3, 3, 3)))
    y = sketch.add(conv(), x, sketch.random(5, 4, 1, 1))
    return sketch.graph(sketch.add(Softmax(1), y) if softmax else y)


def noise_of(graph: Graph) -> OutputNoise:
    return OutputNoise(graph, tuple(feeds(graph, RUNS)))


def expected(exact: list[np.ndarray], got: list[np.ndarray]) -> float:
    """The share of the variance over runs."""
    error = np.stack(got).astype(np.float64) - np.stack(exact)
    return float(error.var(axis=0).sum() / np.stack(exact).astype(np.float64).var(axis=0).sum())


@pytest.mark.parametrize("softmax", [False, True])
def test_a_rounded_input(softmax: bool) -> None:
    graph = network(softmax=softmax)
    inputs, wanted = list(feeds(graph, RUNS)), graph.nodes[2].outputs[0]
    (value,) = graph.inputs
    exact = [graph.reference(x)[wanted] for x in inputs]
    got = [graph.reference({value: X.dequantize(X.quantize(x[value]))})[wanted] for x in inputs]
    assert noise_of(graph).of_value(value, X) == pytest.approx(expected(exact, got), rel=1e-3)


def test_fewer_bits_of_weights_are_more_noise() -> None:
    graph = network()
    form = product(graph, graph.nodes[0])
    assert isinstance(form, Product)
    noise = noise_of(graph)
    by_bits = {b: noise.of_weights(form, weight_parameters(form, X, Settings(weight_bits=b))) for b in (4, 6, 8)}
    assert 8 < by_bits[4] / by_bits[6] < 50  # each bit quarters the power
    assert 8 < by_bits[6] / by_bits[8] < 50


def test_a_mean_error_does_not_count() -> None:
    sketch = Sketch()
    x = sketch.input(1, 3, 4, 4)
    graph = sketch.graph(sketch.add(conv(), x, sketch.random(4, 3, 1, 1)))
    coarse = value_parameters((0.0, 64.0), DType.U8)
    constant = [{x: np.full((1, 3, 4, 4), 0.1, np.float32)}] * 3
    assert OutputNoise(graph, tuple(constant)).of_value(x, coarse) < 1e-12
    assert OutputNoise(graph, tuple(constant[:1])).of_value(x, coarse) > 0.1
