"""Equalisation leaves the float network as it is, to the bit, and makes the quantised one more accurate."""

from __future__ import annotations

import numpy as np
import pytest

from edgesmith.export import to_onnx
from edgesmith.ir import Graph, Op
from edgesmith.ops.add import Add
from edgesmith.ops.clip import Clip
from edgesmith.ops.concat import Concat
from edgesmith.ops.functions import Sigmoid
from edgesmith.ops.max_pool import MaxPool
from edgesmith.ops.rectifiers import LeakyRelu
from edgesmith.ops.relu import Relu
from edgesmith.ops.window import Window
from edgesmith.oracle import Oracle
from edgesmith.quantize import Settings
from edgesmith.quantize.insert import quantized_graph
from edgesmith.quantize.recovery import RECOVERIES
from edgesmith.quantize.recovery.channel_paths import scalable_paths
from passes.graphs import Sketch

from .networks import conv, draft, evidence, feeds, sqnr_db, uneven

POOL = MaxPool(Window((2, 2), (2, 2), (0, 0), (0, 0), (1, 1)))
RELU6 = Clip(0.0, 6.0)


def equalized(graph: Graph, **settings: object) -> Graph:
    return RECOVERIES["equalize"]().prepare(graph, Settings(**settings), evidence(graph))  # type: ignore[arg-type]


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("activation", [Relu(), LeakyRelu(0.1), RELU6], ids=str)
def test_floats_stay_the_same_to_the_bit(activation: Op, per_channel: bool) -> None:
    graph = uneven(activation, POOL)
    changed = equalized(graph, per_channel=per_channel)
    assert changed.digest != graph.digest
    (output,) = graph.outputs
    for inputs in feeds(graph, 3):
        assert np.array_equal(graph.reference(inputs)[output], changed.reference(inputs)[output])
        kept = (set(graph.types) & set(changed.types)) - set(graph.constants)
        before, after = graph.reference(inputs), changed.reference(inputs)
        assert all(np.array_equal(before[v], after[v]) for v in kept)  # what is scaled has another name
        run = Oracle(to_onnx(changed), optimized=False).run(inputs)[output]
        np.testing.assert_allclose(run, before[output], rtol=1e-5, atol=1e-5 * np.abs(before[output]).max())


@pytest.mark.parametrize("activation", [Relu(), RELU6], ids=str)
def test_weights_with_one_scale_gain_most(activation: Op) -> None:
    graph = uneven(activation)
    before = sqnr_db(draft(graph, per_channel=False))
    after = sqnr_db(draft(equalized(graph, per_channel=False), per_channel=False))
    assert after > before + 6


def test_activations_gain_with_a_scale_for_each_channel() -> None:
    graph = uneven(Relu())
    assert sqnr_db(draft(equalized(graph))) > sqnr_db(draft(graph)) + 3


def test_bounds_that_the_integers_imply_disappear() -> None:
    graph = uneven(RELU6)
    made = draft(equalized(graph))
    assert "Clip" not in [n.op.name for n in made.graph.nodes]
    written = quantized_graph(made.graph, made.parameters, made.settings)
    lean = made.quantized()
    bounds = [[n.outputs[0] for n in g.nodes if n.op.name == "Min"] for g in (written, lean)]
    assert set(bounds[1]) < set(bounds[0])
    (output,) = graph.outputs
    for inputs in feeds(graph, 3):
        assert np.array_equal(*(g.reference(inputs)[output] for g in (written, lean)))


def test_bounds_come_back_where_a_value_becomes_floats() -> None:
    made = draft(equalized(uneven(RELU6)))
    mixed = made.with_floats([n.name for n in made.graph.nodes if n.op.name == "Conv"][1:])
    kept = [n.outputs[0] for n in mixed.quantized().nodes if n.op.name == "Min"]
    assert len(kept) > sum(n.op.name == "Min" for n in made.quantized().nodes)


def test_parts_of_a_concatenation_have_factors_of_their_own() -> None:
    sketch = Sketch()
    x = sketch.input(1, 3, 6, 6)
    parts = []
    for size in (1 / 32, 1.0):
        weights = sketch.rng.standard_normal((4, 3, 1, 1)).astype(np.float32) * np.float32(size)
        parts.append(sketch.add(Relu(), sketch.add(conv(), x, sketch.constant(weights))))
    joined = sketch.add(Concat(1), *parts)
    graph = sketch.graph(*(sketch.add(conv(), joined, sketch.random(5, 8, 1, 1)) for _ in range(2)))
    paths = scalable_paths(graph)
    assert [[s.first for s in p.sinks] for p in paths] == [[0, 0], [4, 4]]
    changed = equalized(graph)
    for inputs in feeds(graph, 2):
        before, after = graph.reference(inputs), changed.reference(inputs)
        assert all(np.array_equal(before[v], after[v]) for v in graph.outputs)
    assert changed.digest != graph.digest


def test_what_cannot_be_undone_is_left_alone() -> None:
    sketch = Sketch()
    x = sketch.input(1, 4, 6, 6)
    a = sketch.add(conv(), x, sketch.random(4, 4, 1, 1))
    b = sketch.add(conv(), sketch.add(Sigmoid(), a), sketch.random(4, 4, 1, 1))
    c = sketch.add(conv(), sketch.add(Add(), b, x), sketch.random(4, 4, 1, 1))
    d = sketch.add(conv(), sketch.add(Clip(-1.0, 6.0), c), sketch.random(4, 4, 1, 1))
    graph = sketch.graph(sketch.add(conv(), d, sketch.random(4, 4, 1, 1)), d)
    assert scalable_paths(graph) == []
    assert equalized(graph) is graph


@pytest.mark.parametrize("settings", [{"precision": "int16x8"}, {"precision": "int16"}, {"weight_bits": 4}], ids=str)
def test_what_is_coarse_decides(settings: dict[str, object]) -> None:
    """Activations of 16 bits leave nothing to gain for them, so that weights do not pay for it."""
    graph = uneven(Relu())
    assert sqnr_db(draft(equalized(graph, **settings), **settings)) > sqnr_db(draft(graph, **settings)) - 0.1
