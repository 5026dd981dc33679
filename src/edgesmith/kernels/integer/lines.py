"""Integer sums over packed input lines."""

from __future__ import annotations

import numpy as np

from edgesmith.kernels.integer.dot import Dot
from edgesmith.kernels.integer.window import IntegerWindow
from edgesmith.kernels.packed_lines import LineSums

__all__ = ["IntegerSums", "starting_sums"]


class IntegerSums(LineSums):
    """Sizes of a problem with integers, multiplied as the target does it best."""

    window: IntegerWindow

    def __init__(self, window: IntegerWindow) -> None:
        self.dot = Dot.of(window.problem.target, window.weights)
        super().__init__(window, self.dot.group)


def starting_sums(window: IntegerWindow, shift: int, lanes: int) -> np.ndarray:
    """What sums start with: the bias, less what zero point and shift of the input add to every sum; whole vectors."""
    totals = window.weights.astype(np.int64).reshape(window.channels, -1).sum(1)
    padded = np.zeros(-(-window.channels // lanes) * lanes, np.int64)
    padded[: window.channels] = window.bias - (window.x_zero + shift) * totals
    return padded.astype(np.int32)
