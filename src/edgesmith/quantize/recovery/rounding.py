"""The integers of a layer's weights in a draft."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgesmith.quantize.parameters import QParams
from edgesmith.quantize.recovery.base import Draft
from edgesmith.quantize.recovery.linear import Linear

__all__ = ["dequantized_weights", "with_integers", "with_weight_parameters"]


def dequantized_weights(draft: Draft, linear: Linear) -> np.ndarray:
    """What the integer weights of a layer stand for, (g, m, k) f64."""
    name = linear.form.node.name
    parameters = draft.parameters.weights[name]
    integers = draft.parameters.integers.get(name)
    if integers is None:
        integers = parameters.quantize(linear.form.weights)
    return linear.matrix(parameters.dequantize(integers).astype(np.float64))


def with_integers(draft: Draft, name: str, integers: np.ndarray) -> Draft:
    """The draft with chosen integers for the weights of a node."""
    known = draft.parameters
    return replace(draft, parameters=replace(known, integers={**known.integers, name: integers}))


def with_weight_parameters(draft: Draft, name: str, parameters: QParams) -> Draft:
    """The draft with other scales for the weights of a node, rounded to nearest."""
    known = draft.parameters
    integers = {n: a for n, a in known.integers.items() if n != name}
    changed = replace(known, weights={**known.weights, name: parameters}, integers=integers)
    return replace(draft, parameters=changed)
