"""Integer sums over packed input lines."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from edgesmith.kernels.integer.dot import Dot
from edgesmith.kernels.integer.wide import PartialSums, digits, largest_input, words
from edgesmith.kernels.integer.window import IntegerWindow
from edgesmith.kernels.packed_lines import LineSums

__all__ = ["IntegerSums", "starting_sums"]


class IntegerSums(LineSums):
    """Sizes of a problem with integers.

    Args:
        dot: how they are multiplied (default: as the target does it best by lanes).
    """

    window: IntegerWindow

    def __init__(self, window: IntegerWindow, dot: Dot | None = None) -> None:
        self.digits = digits(window.weights) if window.wide else [window.weights]
        """Weights as they are multiplied."""
        self.dot = dot or Dot.of(window.problem.target, self.weights, window.input_type)
        super().__init__(window, self.dot.group)

    @cached_property
    def weights(self) -> np.ndarray:
        return np.concatenate(self.digits, 1)

    @cached_property
    def partial(self) -> PartialSums | None:
        """How wide sums are added up; None where they cannot be."""
        shape = (len(self.digits), self.window.channels, self.window.kernel[0], self.runs, self.run)
        largest = largest_input(self.window, self.dot.shift(self.window.input_type))
        return PartialSums.of(np.stack(self.digits).reshape(shape), largest, self.dot.group)


def starting_sums(window: IntegerWindow, shift: int, lanes: int, start: int = 0) -> np.ndarray:
    """What sums start with: the bias, less what zero point and shift of the input add to every sum; whole vectors.

    Wide sums start with two words.

    Args:
        start: what the epilogue wants beside.
    """
    totals = window.weights.astype(np.int64).reshape(window.channels, -1).sum(1)
    padded = np.zeros(-(-window.channels // lanes) * lanes, np.int64)
    padded[: window.channels] = window.bias - (window.x_zero + shift) * totals + start
    return words(padded) if window.wide else padded.astype(np.int32)
