"""Scales of weights that cut the largest off where that makes the layer's results more accurate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgesmith.quantize.parameters import QParams
from edgesmith.quantize.recovery.base import Draft, Evidence, Recovery, recovery
from edgesmith.quantize.recovery.reconstruction import Layers, Reconstruction, products_in_order
from edgesmith.quantize.recovery.rounding import with_weight_parameters

__all__ = ["ClipWeights", "clipped"]

SHARES = tuple(float(s) for s in np.linspace(1.0, 0.5, 26))
"""Shares of the largest weight that are tried."""


@recovery("clip-weights")
class ClipWeights(Recovery):
    """Chooses for each scale of weights the one with the least error of the layer's results on calibration data.

    The error counts what the quantised network's inputs make of each weight's error, unlike the error of the weights
    alone. It pays for few bits; int8 hardly changes. Source: Banner et al., Post training 4-bit quantization of
    convolutional networks, 2019, with the error of the output in place of that of the weights.
    """

    def improve(self, draft: Draft, evidence: Evidence) -> Draft:
        if draft.settings.power_of_two:
            return draft
        names, layers = products_in_order(draft), Layers(draft.exact, evidence)
        for done, name in enumerate(names, 1):
            found = layers.reconstruction(draft, name)
            if found.finite:
                draft = with_weight_parameters(draft, name, clipped(found, draft.parameters.weights[name]))
            evidence.progress(done, len(names))
        return draft


def clipped(found: Reconstruction, parameters: QParams) -> QParams:
    """The parameters with the best of some smaller scales, each chosen for itself."""
    linear = found.linear
    candidates = [replace(parameters, scale=np.asarray(parameters.scale * np.float32(s))) for s in SHARES]
    errors = []
    for candidate in candidates:
        weights = candidate.dequantize(candidate.quantize(linear.form.weights)).astype(np.float64)
        error = found.error(linear.matrix(weights)).reshape(-1)
        errors.append(error if parameters.scale.size > 1 else error.sum(keepdims=True))
    best = np.argmin(errors, axis=0)
    scales = np.stack([c.scale.reshape(-1) for c in candidates])
    chosen = scales[best, np.arange(best.size)].reshape(parameters.scale.shape)
    return replace(parameters, scale=np.asarray(chosen, np.float32))
