"""Corrected biases make the mean of every channel that of the float network."""

from __future__ import annotations

import numpy as np

from edgesmith.ir import Graph
from edgesmith.ops.matmul import MatMul
from edgesmith.ops.relu import Relu
from edgesmith.quantize.insert import bias_units
from edgesmith.quantize.products import Product, product
from edgesmith.quantize.recovery import RECOVERIES, Draft
from edgesmith.quantize.recovery.reconstruction import products_in_order
from passes.graphs import Sketch

from .networks import conv, draft, evidence, feeds, sqnr_db, uneven


def corrected(made: Draft) -> Draft:
    return RECOVERIES["bias-correction"]().improve(made, evidence(made.exact))


def mean_errors(made: Draft, name: str) -> np.ndarray:
    """Of the output channels of a node, over the calibration data."""
    graph = made.quantized()
    (value,) = made.exact.nodes[made.exact.position[name]].outputs
    wrong = [graph.reference(x)[value] - made.exact.reference(x)[value] for x in feeds(made.exact)]
    return np.mean(wrong, axis=(0, 1, 3, 4))


def test_means_are_exact_up_to_the_rounding_of_the_bias() -> None:
    made = draft(uneven(Relu()), weight_bits=4)
    better = corrected(made)
    for name in products_in_order(made):
        form = product(made.graph, made.graph.nodes[made.graph.position[name]])
        assert isinstance(form, Product)
        unit = bias_units(form, made.parameters.values[form.input], made.parameters.weights[name])
        left, before = mean_errors(better, name), mean_errors(made, name)
        size = np.abs(form.weights).sum(axis=(1, 2, 3)) * 8
        assert (np.abs(left) <= unit / 2 + 1e-6 * size).all()
        assert np.abs(left).sum() < np.abs(before).sum() / 3
    assert sqnr_db(better) > sqnr_db(made) + 3


def test_layers_without_a_bias_get_one_where_they_can() -> None:
    sketch = Sketch()
    x = sketch.add(Relu(), sketch.add(conv(), sketch.input(1, 4, 1, 6), sketch.random(4, 4, 1, 1)))
    graph: Graph = sketch.graph(sketch.add(MatMul(), x, sketch.random(6, 3)))
    better = corrected(draft(graph, weight_bits=3))
    assert [len(n.inputs) for n in better.graph.nodes if n.op.name in ("Conv", "MatMul")] == [3, 2]


def test_layers_that_become_floats_get_their_own_bias_back() -> None:
    made = corrected(draft(uneven(Relu()), weight_bits=4))
    names = products_in_order(made)
    mixed = made.with_floats(names[1:2])
    for graph, name, same in ((mixed.graph, names[1], True), (mixed.graph, names[0], False)):
        biases = [g.constants[g.nodes[g.position[name]].inputs[2]] for g in (graph, made.exact)]
        assert np.array_equal(*biases) == same
    assert products_in_order(mixed) == [names[0], names[2]]
    assert made.with_floats(names).quantized() is made.exact
