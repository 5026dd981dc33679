"""Ranges to the parameters of all values and weights."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgesmith.ir import Graph
from edgesmith.quantize.notices import Notice
from edgesmith.quantize.parameters import Parameters, Range
from edgesmith.quantize.placement import Placement
from edgesmith.quantize.products import Product
from edgesmith.quantize.scales import activation_parameters, weight_parameters
from edgesmith.quantize.settings import Settings
from edgesmith.quantize.sharing import shared_ranges
from edgesmith.quantize.sign_weights import sign_weights

__all__ = ["parameters_for", "weight_notices"]

_UNEVEN = 64.0
"""A channel with weights so many times larger than the median channel's makes one scale for all too coarse."""


def parameters_for(graph: Graph, placement: Placement, ranges: Mapping[str, Range], settings: Settings) -> Parameters:
    """The parameters of every value with a range, and of the weights of every product that reads such a value."""
    used = {v: ranges[v] for v in placement.values if v in ranges}
    values = {v: activation_parameters(r, settings) for v, r in shared_ranges(graph, used).items()}
    weights = {
        name: weight_parameters(form, values[form.input], settings)
        for name, form in placement.products.items()
        if form.input in values
    }
    if not settings.is_signs:
        return Parameters(values, weights)
    signs = {name: sign_weights(placement.products[name], q, settings) for name, q in weights.items()}
    return Parameters(values, {n: q for n, (q, _) in signs.items()}, {n: codes for n, (_, codes) in signs.items()})


def weight_notices(placement: Placement, settings: Settings) -> list[Notice]:
    """What is doubtful about the weights."""
    found = []
    for name, form in placement.products.items():
        if not form.weights.any():
            found.append(Notice("zero-weights", name, "all its weights are 0"))
        elif not settings.per_channel and _spread(form) > _UNEVEN:
            why = f"its largest channel of weights is {_spread(form):.0f} times the median one"
            found.append(Notice("outlier-channels", name, why, "one scale for each channel keeps the others"))
    return found


def _spread(form: Product) -> float:
    others = tuple(a for a in range(form.weights.ndim) if a != form.axis)
    sizes = np.abs(form.weights).max(axis=others)
    return float(sizes.max() / max(np.median(sizes), np.finfo(np.float32).tiny))
