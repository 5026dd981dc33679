"""The extremes of a sample, averaged over samples."""

from __future__ import annotations

import numpy as np

from edgesmith.quantize.observers.base import Observer, State, observer
from edgesmith.quantize.parameters import Range
from edgesmith.quantize.settings import Settings


@observer("moving-average")
class MovingAverage(Observer):
    """The exponential moving average of each sample's smallest and largest element.

    Source: Jacob et al., Quantization and Training of Neural Networks, 2018, section 3.1.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._average: np.ndarray | None = None

    def observe(self, x: np.ndarray) -> None:
        super().observe(x)
        extremes, past = np.array([x.min(), x.max()], np.float64), self.settings.momentum
        self._average = extremes if self._average is None else past * self._average + (1 - past) * extremes

    def range(self) -> Range:
        assert self._average is not None
        return float(self._average[0]), float(self._average[1])

    def state(self) -> dict[str, np.ndarray]:
        return super().state() | ({} if self._average is None else {"average": self._average})

    def restore(self, state: State) -> None:
        super().restore(state)
        self._average = state.get("average")
