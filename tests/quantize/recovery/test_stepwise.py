"""Values computed piece by piece are those of the whole graph."""

from __future__ import annotations

import numpy as np

from edgesmith.ops.relu import Relu
from edgesmith.quantize.recovery import RECOVERIES
from edgesmith.quantize.recovery.reconstruction import products_in_order
from edgesmith.quantize.recovery.stepwise import Stepwise

from .networks import draft, evidence, feeds, uneven


def test_each_value_is_that_of_the_whole_graph() -> None:
    made = draft(uneven(Relu()))
    graph = made.quantized()
    runs = list(feeds(made.exact, 3))
    references = [graph.reference(x) for x in runs]
    steps = Stepwise(runs, optimized=False)
    wanted = [n.inputs[0] for n in graph.nodes if n.name in products_in_order(made)]
    for value in (*wanted[:2], wanted[1], *wanted[2:], graph.outputs[0]):
        for got, reference in zip(steps.value(graph, value), references, strict=True):
            np.testing.assert_allclose(got, reference[value], rtol=1e-4, atol=1e-5)


def test_what_was_computed_stays_and_what_follows_may_change() -> None:
    made = draft(uneven(Relu()), weight_bits=3)
    runs = list(feeds(made.exact, 3))
    first, second, _ = products_in_order(made)
    steps = Stepwise(runs, optimized=False)

    def given(graph_of: object, name: str) -> list[np.ndarray]:
        graph = graph_of.quantized()  # type: ignore[attr-defined]
        (value,) = (n.inputs[0] for n in graph.nodes if n.name == name)
        return steps.value(graph, value)

    given(made, first)
    changed = RECOVERIES["bias-correction"]().improve(made, evidence(made.exact))
    graph = changed.quantized()
    (value,) = (n.inputs[0] for n in graph.nodes if n.name == second)
    for got, x in zip(given(changed, second), runs, strict=True):
        assert np.array_equal(got, graph.reference(x)[value])
