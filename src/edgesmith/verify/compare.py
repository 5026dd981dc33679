"""Comparing an array with its reference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Difference", "compare"]


@dataclass(frozen=True)
class Difference:
    """How an array differs from its reference.

    Args:
        max_abs: largest absolute difference; infinite where NaN or infinity stands in one of them only.
        relative: that, over the largest finite magnitude of the reference (0 / 0 is 0).
        rms: root of the mean squared difference.
        ulp: ``max_abs`` in units in the last place of the reference's largest magnitude; for integers the number of
            elements that differ.
        ratio: largest difference over tolerance of any element; at most 1 is within the tolerance.
        at: index of that element.
        tolerance: the tolerance there.
    """

    max_abs: float
    relative: float
    rms: float
    ulp: float
    ratio: float
    at: tuple[int, ...]
    tolerance: float

    @property
    def ok(self) -> bool:
        return self.ratio <= 1.0


def compare(
    got: np.ndarray, expected: np.ndarray, tolerance: np.ndarray | float, ignore: np.ndarray | None = None
) -> Difference:
    """Compare with a tolerance per element; NaN must meet NaN and an infinity the same infinity.

    Args:
        ignore: elements that rounding may change freely (see ``accumulate.Accumulated.unstable``).
    """
    if got.shape != expected.shape or got.dtype != expected.dtype:
        raise ValueError(f"cannot compare {got.dtype}{got.shape} with {expected.dtype}{expected.shape}")
    if not expected.size:
        return Difference(0.0, 0.0, 0.0, 0.0, 0.0, (), 0.0)
    with np.errstate(all="ignore"):
        distance = np.abs(np.subtract(got, expected, dtype=np.float64))
        same = (got == expected) | ((got != got) & (expected != expected))
        distance = np.where(same, 0.0, np.where(np.isnan(distance), np.inf, distance))
        if ignore is not None:
            distance = np.where(ignore, 0.0, distance)
        allowed = np.broadcast_to(np.asarray(tolerance, np.float64), distance.shape)
        ratio = np.where(distance == 0, 0.0, distance / allowed)
    ratio = np.where(np.isnan(ratio), np.inf, ratio)
    at = np.unravel_index(int(np.argmax(ratio)), ratio.shape)
    finite = np.abs(expected[np.isfinite(expected)].astype(np.float64))
    scale = float(finite.max(initial=0.0))
    largest = float(distance.max())
    if expected.dtype.kind == "f":
        ulp = largest / float(np.spacing(expected.dtype.type(scale)))
    else:
        ulp = float(np.count_nonzero(distance))
    return Difference(
        max_abs=largest,
        relative=largest / scale if scale else (0.0 if not largest else np.inf),
        rms=float(np.sqrt(np.mean(np.square(distance)))),
        ulp=ulp,
        ratio=float(ratio[at]),
        at=tuple(int(i) for i in at),
        tolerance=float(allowed[at]),
    )
