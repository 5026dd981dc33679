"""The range with the least cubed error."""

from __future__ import annotations

from typing import ClassVar

from edgesmith.quantize.observers.base import observer
from edgesmith.quantize.observers.mse import MeanSquaredError


@observer("l3")
class CubedError(MeanSquaredError):
    """Least sum of cubed absolute differences: large errors, of elements cut off, count more than with ``mse``.

    Large activations say more than their share of the squares. Source: Nahshan et al., Loss aware post-training
    quantization, 2021, where exponents of about 3 lose least.
    """

    exponent: ClassVar[float] = 3.0
