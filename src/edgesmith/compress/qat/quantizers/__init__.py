"""Quantisers of weights and of activations, one file each."""

from edgesmith.compress.qat.quantizers.base import (
    ACTIVATIONS,
    WEIGHTS,
    ActivationQuantizer,
    Coded,
    WeightQuantizer,
    activations,
    weights,
)

__all__ = ["ACTIVATIONS", "WEIGHTS", "ActivationQuantizer", "Coded", "WeightQuantizer", "activations", "weights"]
