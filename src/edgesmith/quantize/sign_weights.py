"""Binary and ternary weights: signs times a scale."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgesmith.quantize.parameters import QParams
from edgesmith.quantize.products import Product
from edgesmith.quantize.settings import Settings

__all__ = ["sign_weights"]

_THRESHOLD = 0.7
"""Of the mean size of weights: smaller ones become 0 (Li et al., Ternary Weight Networks, 2016, section 2.3)."""


def sign_weights(form: Product, usual: QParams, settings: Settings) -> tuple[QParams, np.ndarray]:
    """The parameters of a product's weights, and the integers -1, 0 and 1.

    The scale is the mean size of the weights that are not 0, which is the best for their signs: of all where they are
    binary (Rastegari et al., XNOR-Net, 2016, section 3.1).

    Args:
        usual: the parameters of nearest integers, whose axis and type hold, and where all weights are 0 their scale.
    """
    axis = usual.axis
    others = tuple(a for a in range(form.weights.ndim) if a != axis)
    size = np.abs(form.weights.astype(np.float64))
    kept = np.ones(size.shape, bool)
    if settings.ternary:
        kept = size > _THRESHOLD * size.mean(others, keepdims=True)
    number = kept.sum(others)
    mean = np.where(kept, size, 0).sum(others) / np.maximum(number, 1)
    scale = np.where(mean > 0, mean, usual.scale).astype(np.float32)
    integers = np.where(kept, np.where(form.weights < 0, -1, 1), 0).astype(np.int8)
    return replace(usual, scale=np.asarray(scale), low=-1, high=1), integers
