"""Which elements of constants are zero: part of a problem's signature where it decides which kernels pay."""

from __future__ import annotations

import hashlib
import weakref
from dataclasses import dataclass

import numpy as np

__all__ = ["SPARSE_BELOW", "Zeros", "zeros_of"]

SPARSE_BELOW = 0.85
"""Share of nonzero elements from which on nothing is gained by knowing the others."""
LEAST_ELEMENTS = 256


@dataclass(frozen=True)
class Zeros:
    """The zeros of a constant.

    Args:
        density: share of the elements that are not zero.
        pattern: digest of where the others lie; empty for constants that are small, not matrices of f32, or hold fewer
            zeros than ``SPARSE_BELOW`` says, which are taken to be dense.
    """

    density: float
    pattern: str


DENSE = Zeros(1.0, "")
_known: dict[int, tuple[weakref.ref[np.ndarray], Zeros]] = {}


def zeros_of(array: np.ndarray) -> Zeros:
    """The zeros of a constant, which does not change; found once for each array."""
    if array.dtype != np.float32 or array.ndim < 2 or array.size < LEAST_ELEMENTS:
        return DENSE
    known = _known.get(id(array))
    if known is not None and known[0]() is array:
        return known[1]
    found, number = _zeros(array), id(array)
    _known[number] = weakref.ref(array, lambda _: _known.pop(number, None)), found
    return found


def _zeros(array: np.ndarray) -> Zeros:
    density = np.count_nonzero(array) / array.size
    if density > SPARSE_BELOW:
        return Zeros(density, "")
    bits = np.packbits(np.ascontiguousarray(array).reshape(-1) != 0)
    return Zeros(density, hashlib.sha256(bits.data).hexdigest()[:16])
