"""95 % intervals of shares and of differences between paired shares."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np

Z = 1.959964
"""Two-sided 95 % of the normal distribution."""


@dataclass(frozen=True)
class Estimate:
    """A value and the limits of its 95 % interval."""

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        return {"value": self.value, "low": self.low, "high": self.high}


def share(hits: np.ndarray, groups: np.ndarray | None = None) -> Estimate:
    """The share of true elements, with Wilson's score interval (J. Am. Stat. Assoc. 22, 1927).

    Args:
        hits: one truth value a sample.
        groups: see ``design_effect``.
    """
    hits = np.asarray(hits, bool)
    return _wilson(float(hits.mean()), len(hits) / design_effect(hits.astype(float), groups))


def difference(ours: np.ndarray, reference: np.ndarray, groups: np.ndarray | None = None) -> Estimate:
    """Share of ``ours`` minus share of ``reference``, both judged on the same samples.

    The interval is method 10 of Newcombe (Statistics in Medicine 17, 1998, 2635-2650): the squares of the distances to
    the Wilson limits of both shares are added, less what their correlation takes away.

    Args:
        ours, reference: one truth value a sample.
        groups: see ``design_effect``.
    """
    ours, reference = np.asarray(ours, bool), np.asarray(reference, bool)
    weight = 1 / design_effect(ours.astype(float) - reference, groups)
    a, b, c, d = (
        weight * int(np.sum(cell))
        for cell in (ours & reference, ours & ~reference, ~ours & reference, ~(ours | reference))
    )
    n = a + b + c + d
    first, second = _wilson((a + b) / n, n), _wilson((a + c) / n, n)
    product = (a + b) * (c + d) * (a + c) * (b + d)
    numerator = a * d - b * c
    if numerator > 0:
        numerator = max(numerator - n / 2, 0.0)
    correlation = numerator / sqrt(product) if product else 0.0

    def distance(x: float, y: float) -> float:
        return sqrt(max(x * x - 2 * correlation * x * y + y * y, 0.0))

    value = (b - c) / n
    return Estimate(
        value,
        value - distance(first.value - first.low, second.high - second.value),
        value + distance(first.high - first.value, second.value - second.low),
    )


def design_effect(values: np.ndarray, groups: np.ndarray | None) -> float:
    """By how many times fewer independent samples would say as much (Kish, Survey Sampling, 1965).

    Crops of one photograph resemble each other. The variance of the mean over groups is compared with that over
    independent samples; where nothing varies, a group counts as one sample.

    Args:
        values: one a sample.
        groups: number of each sample's group; None where the samples are independent.
    """
    if groups is None:
        return 1.0
    _, member, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    largest = float(sizes.max())
    centred = values - values.mean()
    independent = float(np.sum(centred**2))
    if not independent:
        return largest
    grouped = float(np.sum(np.bincount(member, centred) ** 2))
    return min(max(grouped / independent, 1.0), largest)


def _wilson(p: float, n: float) -> Estimate:
    middle = (p + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z / (1 + Z * Z / n) * sqrt(p * (1 - p) / n + Z * Z / (4 * n * n))
    return Estimate(p, max(middle - half, 0.0), min(middle + half, 1.0))
