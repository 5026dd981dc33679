"""Scales and ranges that cut something off."""

from __future__ import annotations

import numpy as np

from edgesmith.ops.relu import Relu
from edgesmith.quantize.recovery import RECOVERIES
from edgesmith.quantize.recovery.clip_weights import clipped
from edgesmith.quantize.recovery.reconstruction import Layers, products_in_order
from edgesmith.quantize.recovery.rounding import dequantized_weights, with_weight_parameters
from passes.graphs import Sketch

from .networks import conv, draft, evidence, sqnr_db, uneven


def test_weights_of_few_bits_are_cut_where_the_results_gain() -> None:
    for per_channel in (True, False):
        made = draft(uneven(Relu()), weight_bits=3, per_channel=per_channel)
        gained = 0
        for name in products_in_order(made):
            found = Layers(made.exact, evidence(made.exact)).reconstruction(made, name)
            known = made.parameters.weights[name]
            chosen = clipped(found, known)
            changed = with_weight_parameters(made, name, chosen)
            before, after = (found.error(dequantized_weights(d, found.linear)) for d in (made, changed))
            assert (chosen.scale <= known.scale).all() and (chosen.scale >= known.scale * 0.499).all()
            assert after.sum() <= before.sum()
            if per_channel:
                assert (after <= before).all()
            gained += after.sum() < before.sum()
        assert gained
    made = draft(uneven(Relu()), weight_bits=3)
    assert sqnr_db(RECOVERIES["clip-weights"]().improve(made, evidence(made.exact))) > sqnr_db(made)


def test_a_range_ignores_a_channel_that_nobody_reads() -> None:
    sketch = Sketch()
    x = sketch.input(1, 4, 6, 6)
    maker, reader = np.eye(4, dtype=np.float32), sketch.rng.standard_normal((5, 4)).astype(np.float32)
    maker[3, 3], reader[:, 3] = 100, 0
    x = sketch.add(Relu(), sketch.add(conv(), x, sketch.constant(maker.reshape(4, 4, 1, 1))))
    graph = sketch.graph(sketch.add(conv(), x, sketch.constant(reader.reshape(5, 4, 1, 1))))
    made = draft(graph, observer="min-max")
    better = RECOVERIES["clip-activations"]().improve(made, evidence(graph))
    assert better.parameters.values[x].scale < made.parameters.values[x].scale / 2
    assert sqnr_db(better) > sqnr_db(made) + 4


def test_powers_of_two_stay_powers_of_two() -> None:
    made = draft(uneven(Relu()), power_of_two=True, weight_bits=4)
    for name in ("clip-weights", "clip-activations"):
        better = RECOVERIES[name]().improve(made, evidence(made.exact))
        scales = [q.scale for q in (*better.parameters.values.values(), *better.parameters.weights.values())]
        assert all((np.exp2(np.rint(np.log2(s))) == s).all() for s in scales)
