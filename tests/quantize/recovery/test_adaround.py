"""AdaRound: never worse than nearest, near the best there is, resumable."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgesmith.ops.relu import Relu
from edgesmith.quantize.recovery import RECOVERIES
from edgesmith.quantize.recovery.adaround import rounded
from edgesmith.quantize.recovery.reconstruction import Layers, products_in_order
from edgesmith.quantize.recovery.rounding import dequantized_weights

from .networks import draft, evidence, sqnr_db, uneven


@pytest.mark.parametrize("bits", [3, 4, 8])
@pytest.mark.parametrize("symmetric", [True, False])
def test_better_than_nearest_and_within_the_range(bits: int, symmetric: bool) -> None:
    made = draft(uneven(Relu()), weight_bits=bits, symmetric_weights=symmetric)
    for name in products_in_order(made):
        found = Layers(made.exact, evidence(made.exact)).reconstruction(made, name)
        parameters = made.parameters.weights[name]
        integers, weights = rounded(found, parameters)
        low, high = parameters.limits
        assert integers.min() >= low and integers.max() <= high and integers.dtype == parameters.dtype.numpy
        steps = parameters.steps(found.form.weights)
        assert (np.abs(integers - np.clip(steps, low, high)) < 1 + 1e-5).all()
        np.testing.assert_allclose(weights, found.linear.matrix(parameters.dequantize(integers)), rtol=1e-6)
        offset = parameters.quantize(found.form.weights) - parameters.along(parameters.zero, 4).astype(np.float64)
        nearest = found.linear.matrix(offset * parameters.along(parameters.scale, 4).astype(np.float64))
        assert (found.error(weights) <= found.error(nearest) * (1 + 1e-9)).all()


def test_near_the_best_of_all_roundings() -> None:
    made = draft(uneven(Relu()), weight_bits=4)
    name = products_in_order(made)[-1]
    found = Layers(made.exact, evidence(made.exact)).reconstruction(made, name)
    parameters = made.parameters.weights[name]
    _, weights = rounded(found, parameters)
    floor = np.floor(found.linear.matrix(parameters.steps(found.form.weights)))
    scale = found.linear.by_channel(parameters.scale.astype(np.float64))
    low, high = parameters.limits
    choices = itertools.product((0, 1), repeat=found.linear.terms)
    errors = [found.error(np.clip(floor + np.array(up), low, high) * scale) for up in choices]
    best, nearest = np.min(errors, axis=0), found.error(dequantized_weights(made, found.linear))
    got = found.error(weights)
    assert (got - best).sum() <= 0.1 * (nearest - best).sum()


def test_four_bits_gain_in_the_network() -> None:
    made = draft(uneven(Relu()), weight_bits=4)
    better = RECOVERIES["adaround"]().improve(made, evidence(made.exact))
    assert sqnr_db(better) > sqnr_db(made) + 2
    assert set(better.parameters.integers) == set(products_in_order(made))


def test_an_interrupted_search_goes_on(tmp_path: Path) -> None:
    made = draft(uneven(Relu()), weight_bits=4)
    whole = RECOVERIES["adaround"]().improve(made, evidence(made.exact))
    state = tmp_path / "state"

    class Stopped(Exception): ...

    def stop(done: int, total: int) -> None:
        if done == 2:
            raise Stopped

    looked = replace(evidence(made.exact), state=state)
    with pytest.raises(Stopped):
        RECOVERIES["adaround"]().improve(made, replace(looked, progress=stop))
    with np.load(state) as kept:
        assert len([n for n in kept.files if n.startswith("integers/")]) == 2
    again = RECOVERIES["adaround"]().improve(made, looked)
    assert again.quantized().digest == whole.quantized().digest
    assert not state.exists()
    state.write_bytes(b"something else")
    assert RECOVERIES["adaround"]().improve(made, looked).quantized().digest == whole.quantized().digest
