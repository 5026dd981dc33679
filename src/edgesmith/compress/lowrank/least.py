"""The least ranks that suffice, where each trial is a decomposition of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

__all__ = ["TRIALS", "least", "spaced"]

Point = TypeVar("Point")
TRIALS = 16
"""Points of ``spaced``; few, so that searches for different energies meet the same ones."""


def spaced(most: int) -> list[int]:
    """At most ``TRIALS`` numbers from 1 to ``most``, evenly spaced."""
    return sorted({-(-most * i // TRIALS) for i in range(1, TRIALS + 1)})


def least(points: Sequence[Point], suffices: Callable[[Point], bool]) -> Point | None:
    """By bisection the first of ascending points that suffices; None where the last does not."""
    if not points or not suffices(points[-1]):
        return None
    low, high = -1, len(points) - 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if suffices(points[middle]) else (middle, high)
    return points[high]
