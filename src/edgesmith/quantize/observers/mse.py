"""The range with the least squared error."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from edgesmith.quantize.observers.base import observer
from edgesmith.quantize.observers.histogrammed import Searched
from edgesmith.quantize.parameters import Range
from edgesmith.quantize.scales import activation_parameters

__all__ = ["MeanSquaredError"]


@observer("mse")
class MeanSquaredError(Searched):
    """Least sum of squared differences between elements and what their integers stand for.

    It balances what is cut off against the coarseness of the steps. Source: Banner et al., Post training 4-bit
    quantization of convolutional networks, 2019, section 2; the minimum is searched, not derived.
    """

    exponent: ClassVar[float] = 2.0

    def loss(self, range: Range) -> float:
        parameters = activation_parameters(range, self.settings)
        first, last = parameters.limits
        scale, zero = float(parameters.scale), int(parameters.zero)
        centres = self.histogram.centres
        steps = np.clip(np.rint(centres / scale) + zero, first, last) - zero
        return float(np.dot(self.histogram.counts, np.abs(centres - steps * scale) ** self.exponent))
