"""Products as matrices, and the error of a layer as a quadratic form."""

from __future__ import annotations

import numpy as np
import pytest

from edgesmith.ir import Graph, Op
from edgesmith.ops.conv import Conv
from edgesmith.ops.gemm import Gemm
from edgesmith.ops.matmul import MatMul
from edgesmith.ops.relu import Relu
from edgesmith.ops.window import Window
from edgesmith.quantize.products import Product, product
from edgesmith.quantize.recovery.linear import Linear
from edgesmith.quantize.recovery.reconstruction import Layers, Reconstruction, products_in_order
from passes.graphs import Sketch

from .networks import draft, evidence, feeds, uneven

STRIDED = Conv(Window((3, 2), (2, 1), (1, 0), (1, 1), (1, 2)), 2)


def single(op: Op, shape: tuple[int, ...], weights: tuple[int, ...]) -> Graph:
    sketch = Sketch()
    return sketch.graph(sketch.add(op, sketch.input(*shape), sketch.random(*weights)))


CASES = [
    pytest.param(single(STRIDED, (2, 4, 7, 8), (6, 2, 3, 2)), id="grouped"),
    pytest.param(single(Conv(Window((3,), (1,), (1,), (1,), (1,)), 4), (1, 4, 9), (4, 1, 3)), id="depthwise-1d"),
    pytest.param(single(Gemm(transB=1), (3, 5), (4, 5)), id="gemm"),
    pytest.param(single(Gemm(), (3, 5), (5, 4)), id="gemm-columns"),
    pytest.param(single(MatMul(), (2, 3, 5), (5, 4)), id="matmul"),
]


@pytest.mark.parametrize("graph", CASES)
def test_rows_times_weights_are_the_results(graph: Graph) -> None:
    (node,) = graph.nodes
    form = product(graph, node)
    assert isinstance(form, Product)
    linear = Linear(form)
    (inputs,) = feeds(graph, 1)
    x, y = inputs[graph.inputs[0]], graph.reference(inputs)[graph.outputs[0]]
    places = linear.places(y.shape, 10**6, np.random.default_rng(0))
    rows, matrix = linear.inputs(x, places), linear.matrix(form.weights)
    results = rows @ matrix.transpose(0, 2, 1)
    np.testing.assert_allclose(results, linear.outputs(y, places), rtol=1e-4, atol=1e-5)
    assert rows.shape[1] * form.channels == y.size
    assert np.array_equal(linear.tensor(matrix), form.weights)
    few = linear.places(y.shape, 2, np.random.default_rng(0))
    assert linear.inputs(x, few).shape == (linear.groups, 2, linear.terms)


@pytest.fixture(scope="module")
def found() -> Reconstruction:
    made = draft(uneven(Relu()))
    return Layers(made.exact, evidence(made.exact)).reconstruction(made, products_in_order(made)[-1])


def test_error_is_that_of_the_results_with_the_best_bias(found: Reconstruction) -> None:
    made = draft(uneven(Relu()))
    graph, node = made.quantized(), found.form.node
    weights = found.linear.matrix(found.form.weights).astype(np.float64) * 1.01
    exact, got = [], []
    for inputs in feeds(made.exact):
        quantized = graph.reference(inputs)
        (name,) = (n.inputs[0] for n in graph.nodes if n.name == node.name)
        places = found.linear.places(made.exact.type(node.outputs[0]).shape, 10**6, np.random.default_rng(0))
        got.append(found.linear.inputs(quantized[name], places) @ weights.transpose(0, 2, 1))
        exact.append(found.linear.outputs(made.exact.reference(inputs)[node.outputs[0]], places))
    wrong = np.concatenate(exact, axis=1) - np.concatenate(got, axis=1)
    np.testing.assert_allclose(found.error(weights), wrong.var(axis=1), rtol=1e-3)
    np.testing.assert_allclose(found.bias(weights), wrong.mean(axis=1).reshape(-1), rtol=1e-4, atol=1e-5)


def test_slope_is_the_derivative(found: Reconstruction) -> None:
    weights = found.linear.matrix(found.form.weights).astype(np.float64)
    direction = np.random.default_rng(1).standard_normal(weights.shape) * np.abs(weights)
    step = 1e-3
    difference = (found.error(weights * 1.1 + step * direction) - found.error(weights * 1.1 - step * direction)) / (
        2 * step
    )
    slope = np.einsum("gmk,gmk->gm", found.slope(weights * 1.1), direction)
    np.testing.assert_allclose(slope, difference, rtol=1e-6, atol=1e-9)
