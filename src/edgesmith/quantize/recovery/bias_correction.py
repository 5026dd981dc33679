"""Biases that undo the mean error of quantised layers."""

from __future__ import annotations

from edgesmith.quantize.recovery.base import Draft, Evidence, Recovery, recovery
from edgesmith.quantize.recovery.reconstruction import Layers, products_in_order
from edgesmith.quantize.recovery.rounding import dequantized_weights

__all__ = ["BiasCorrection"]


@recovery("bias-correction")
class BiasCorrection(Recovery):
    """Layer after layer, the mean of each output channel on calibration data becomes that of the float network.

    Rounded weights and inputs shift the mean of a sum, most of all where a channel has few terms (depthwise
    convolutions); the layers before have been corrected when a layer is measured.
    Source: Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, 2019, section 4.2
    and appendix D (empirical).
    """

    def improve(self, draft: Draft, evidence: Evidence) -> Draft:
        names, layers = products_in_order(draft), Layers(draft.exact, evidence)
        for done, name in enumerate(names, 1):
            found = layers.means(draft, name)
            if found.linear.takes_bias and found.finite:
                draft = draft.with_bias(name, found.bias(dequantized_weights(draft, found.linear)))
            evidence.progress(done, len(names))
        return draft
