"""What observers share that keep a histogram, and the search for the range of least loss."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence

import numpy as np

from edgesmith.quantize.histogram import Histogram
from edgesmith.quantize.observers.base import Observer, State
from edgesmith.quantize.parameters import Range
from edgesmith.quantize.settings import Settings

__all__ = ["Histogrammed", "Searched"]

_INWARDS = tuple(float(f) for f in 0.97 ** np.arange(100))
"""Shares of both bounds that are tried: from all to a twentieth."""
_AROUND = 0.97 ** np.linspace(-24, 24, 97)
"""Factors on one bound that are tried then."""


class Histogrammed(Observer):
    """Keeps a histogram of all elements."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.histogram = Histogram()

    def observe(self, x: np.ndarray) -> None:
        super().observe(x)
        self.histogram.add(x)

    def state(self) -> dict[str, np.ndarray]:
        return super().state() | self.histogram.state()

    def restore(self, state: State) -> None:
        super().restore(state)
        self.histogram.restore(state)


class Searched(Histogrammed):
    """Chooses the range with the least loss, one bound after the other, from everything inwards."""

    @abstractmethod
    def loss(self, range: Range) -> float:
        """How bad a range is."""

    def range(self) -> Range:
        low, high = min(self.low, 0.0), max(self.high, 0.0)
        both = _best(_INWARDS, lambda f: self.loss((low * f, high * f)))
        low, high = low * both, high * both
        for _ in (1, 2):
            high = self._refined(high, self.high, low)
            low = self._refined(low, self.low, high)
        return low, high

    def _refined(self, bound: float, extreme: float, other: float) -> float:
        """The best of some numbers around one bound of the range, no further out than the extreme."""
        if not bound:
            return bound
        tried = [float(b) for b in bound * _AROUND if abs(b) < abs(extreme)]
        return _best([bound, *tried, extreme], lambda b: self.loss((min(b, other), max(b, other))))


def _best(candidates: Sequence[float], loss: Callable[[float], float]) -> float:
    """The candidate of least loss, the first of equal ones."""
    return min(candidates, key=loss)
