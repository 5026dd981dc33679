"""A function of the vector layer as data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

__all__ = ["VectorPrimitive", "converted", "first_lanes", "primitive"]


@dataclass(frozen=True)
class VectorPrimitive:
    """A function of the vector layer.

    Args:
        result, parameters: C signature.
        fallback: the body used when the ISA has no instruction for it.
        numpy: its meaning on arrays of ES_LANES elements; that of a store gives what the memory then holds.
    """

    result: str
    parameters: tuple[tuple[str, str], ...]
    fallback: str
    numpy: Callable[..., np.ndarray]


def primitive(result: str, parameters: str, fallback: str, numpy: Callable[..., np.ndarray]) -> VectorPrimitive:
    """The function whose C parameters are written as in C; their names are single letters."""
    pairs = tuple(
        (p.strip().rstrip("abcmnpvx"), p.strip().rpartition(" ")[2].lstrip("*")) for p in parameters.split(",")
    )
    return VectorPrimitive(result, pairs, fallback, numpy)


def first_lanes(n: int, chosen: np.ndarray, others: np.ndarray | float) -> np.ndarray:
    """The first ``n`` elements of one array, and the rest of another one."""
    return np.where(np.arange(chosen.size) < n, chosen, others).astype(chosen.dtype)


def converted(dtype: type[np.generic], p: np.ndarray, n: int | None = None) -> np.ndarray:
    """The first ``n`` elements (None: all) as numbers of a type, and zeros."""
    return first_lanes(p.size if n is None else n, p.astype(dtype), 0)
