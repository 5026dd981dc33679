"""GPTQ: never worse than nearest, far better where inputs are alike, and the bias makes up for the mean."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from edgesmith.ops.relu import Relu
from edgesmith.quantize.recovery import RECOVERIES, gptq
from edgesmith.quantize.recovery.gptq import rounded
from edgesmith.quantize.recovery.reconstruction import Layers, Reconstruction, products_in_order
from edgesmith.quantize.recovery.rounding import dequantized_weights, with_integers
from passes.graphs import Sketch

from .networks import conv, draft, evidence, sqnr_db, uneven


def error(found: Reconstruction, made: object, integers: np.ndarray) -> np.ndarray:
    """Mean squared error of each channel with other integers for the node's weights."""
    changed = with_integers(made, found.form.node.name, integers)  # type: ignore[arg-type]
    return found.error(dequantized_weights(changed, found.linear))


@pytest.mark.parametrize("bits", [3, 4, 8])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("per_channel", [True, False])
def test_no_channel_is_worse_than_rounded_to_nearest(bits: int, symmetric: bool, per_channel: bool) -> None:
    made = draft(uneven(Relu()), weight_bits=bits, symmetric_weights=symmetric, per_channel=per_channel)
    for name in products_in_order(made):
        found = Layers(made.exact, evidence(made.exact)).reconstruction(made, name)
        parameters = made.parameters.weights[name]
        integers = rounded(found, parameters)
        low, high = parameters.limits
        assert integers.shape == found.form.weights.shape and integers.dtype == parameters.dtype.numpy
        assert integers.min() >= low and integers.max() <= high
        nearest = error(found, made, parameters.quantize(found.form.weights))
        assert (error(found, made, integers) <= nearest * (1 + 1e-9)).all()


def test_inputs_that_are_alike_stand_in_for_each_other() -> None:
    made = draft(uneven(Relu()), weight_bits=3)
    found = Layers(made.exact, evidence(made.exact)).reconstruction(made, products_in_order(made)[-1])
    terms = found.linear.terms
    alike = np.full_like(found.gram, 1.0) + 1e-3 * np.eye(terms)
    weights = found.linear.matrix(found.form.weights).astype(np.float64)
    power = np.einsum("gmk,gkl,gml->gm", weights, alike, weights)
    same = replace(found, gram=alike, cross=weights @ alike, power=power)
    parameters = made.parameters.weights[found.form.node.name]
    scale = parameters.scale.reshape(1, -1)
    step_errors = same.error(parameters.dequantize(rounded(same, parameters)).reshape(weights.shape)) / scale**2
    assert (
        step_errors < 0.25 + 1e-3 * terms
    ).all()  # half a step in all, where each weight alone may be half a step off


def test_inputs_that_are_always_zero_do_not_matter() -> None:
    made = draft(uneven(Relu()), weight_bits=4)
    name = products_in_order(made)[-1]
    found = Layers(made.exact, evidence(made.exact)).reconstruction(made, name)
    nothing = {f.name: 0 * getattr(found, f.name) for f in fields(found) if f.name != "linear"}
    silent = replace(found, **nothing)
    parameters = made.parameters.weights[name]
    assert np.array_equal(rounded(silent, parameters), parameters.quantize(found.form.weights))


def test_four_bits_gain_more_than_by_corrected_biases() -> None:
    sketch = Sketch()
    x = sketch.add(conv(), sketch.input(1, 3, 8, 8), sketch.random(24, 3, 1, 1))  # channels that are all alike
    made = draft(sketch.graph(sketch.add(conv(), x, sketch.random(8, 24, 1, 1))), weight_bits=4)
    by_biases, better = (RECOVERIES[n]().improve(made, evidence(made.exact)) for n in ("bias-correction", "gptq"))
    assert sqnr_db(better) > sqnr_db(by_biases) + 3
    assert set(better.parameters.integers) == set(products_in_order(made))


def test_chosen_integers_stay() -> None:
    made = draft(uneven(Relu()), weight_bits=1)
    before = dict(made.parameters.integers)
    better = RECOVERIES["gptq"]().improve(made, evidence(made.exact))
    assert before and before.keys() == better.parameters.integers.keys()
    assert all(np.array_equal(before[n], better.parameters.integers[n]) for n in before)
    assert better.graph is not made.graph  # but the biases change


def test_sums_of_very_many_terms_are_rounded_to_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gptq, "MOST_TERMS", 8)
    made = draft(uneven(Relu()), weight_bits=4)
    better = RECOVERIES["gptq"]().improve(made, evidence(made.exact))
    assert list(better.parameters.integers) == products_in_order(made)[-1:]  # of 8 terms; the others have 27 and 9
    assert sqnr_db(better) > sqnr_db(made) + 3
