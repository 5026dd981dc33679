"""Histograms of numbers whose range is not known beforehand."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

__all__ = ["Histogram"]

BINS = 4096


class Histogram:
    """How many numbers lie in each of at most 4096 intervals of equal width; zeros are counted apart.

    The width is a power of two, the narrowest that suffices for all numbers so far and is no finer than 1/8192 of the
    largest magnitude; intervals start at its multiples: when numbers come that lie further out, pairs of intervals
    merge exactly. So the result depends neither on the order of the numbers nor on how they were split into calls.
    """

    def __init__(self) -> None:
        self.zeros = 0
        self._counts = np.zeros(0, np.int64)
        self._first = 0
        self._exponent = -149

    @property
    def width(self) -> float:
        return math.ldexp(1.0, self._exponent)

    @property
    def counts(self) -> np.ndarray:
        """Numbers in each interval, zeros left out."""
        return self._counts

    @property
    def edges(self) -> np.ndarray:
        """Lower end of each interval, and the upper end of the last, f64."""
        return (self._first + np.arange(self._counts.size + 1)) * self.width

    @property
    def centres(self) -> np.ndarray:
        return self.edges[:-1] + self.width / 2

    @property
    def total(self) -> int:
        """All numbers, zeros too."""
        return int(self._counts.sum()) + self.zeros

    def add(self, x: np.ndarray) -> None:
        """Count finite numbers."""
        x = x.reshape(-1).astype(np.float64, copy=False)
        nonzero = int(np.count_nonzero(x))
        self.zeros += x.size - nonzero
        if not nonzero:
            return
        if nonzero < x.size:
            x = x[x != 0]
        self._cover(float(x.min()), float(x.max()))
        places = np.floor(np.ldexp(x, -self._exponent)).astype(np.int64) - self._first
        self._counts += np.bincount(places, minlength=self._counts.size)

    def _cover(self, low: float, high: float) -> None:
        """Make room for numbers from ``low`` to ``high``."""
        exponent = max(self._exponent, math.frexp(max(-low, high) / BINS)[1] - 1)
        first, last = self._places(low, high, exponent)
        while last - first >= BINS:
            exponent += 1
            first, last = self._places(low, high, exponent)
        merged = np.zeros(last - first + 1, np.int64)
        places = (self._first + np.arange(self._counts.size)) >> (exponent - self._exponent)
        np.add.at(merged, places - first, self._counts)
        self._counts, self._first, self._exponent = merged, first, exponent

    def _places(self, low: float, high: float, exponent: int) -> tuple[int, int]:
        """First and last interval of width 2**exponent that numbers from ``low`` to ``high``, or present ones, need."""
        first, last = (math.floor(math.ldexp(x, -exponent)) for x in (low, high))
        if self._counts.size:
            wider = exponent - self._exponent
            first = min(first, self._first >> wider)
            last = max(last, (self._first + self._counts.size - 1) >> wider)
        return first, last

    def state(self) -> dict[str, np.ndarray]:
        return {"counts": self._counts, "place": np.array([self._first, self._exponent, self.zeros], np.int64)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        self._counts = state["counts"]
        self._first, self._exponent, self.zeros = (int(v) for v in state["place"])
