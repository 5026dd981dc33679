"""Decomposition of convolution weights into a sum of Tucker blocks."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from edgesmith.compress.lowrank.tucker import Tucker, tucker

__all__ = ["Blocks", "blocks"]

SWEEPS = 20
BLOCK_SWEEPS = 2
CONVERGED = 1e-5
"""Change of the squared error in a sweep, as a share of the squared norm."""


@dataclass(frozen=True)
class Blocks:
    """Weights as a sum of Tucker blocks.

    Attributes:
        error: norm of the difference over the norm of the weights.
    """

    parts: tuple[Tucker, ...]
    error: float


def blocks(weight: Tensor, number: int, inner: int, outer: int, sweeps: int = SWEEPS) -> Blocks:
    """Block by block the best fit to what the others leave, first in turn from nothing, then until nothing changes.

    De Lathauwer, "Decompositions of a higher-order tensor in block terms", SIAM J. Matrix Anal. Appl. 30 (2008). A fit
    is a projection of the remainder, so the error falls from step to step, and never exceeds the norm of the weights.

    Args:
        weight: (T, S, kh, kw), in float64.
        number: of blocks.
        inner: rank of each block's input channels.
        outer: rank of each block's output channels.
        sweeps: at most as many.
    """
    whole = float(weight.square().sum())
    remainder = weight.clone()
    parts: list[Tucker | None] = [None] * number
    before = whole
    for _ in range(max(1, sweeps)):
        for index, part in enumerate(parts):
            target = remainder if part is None else remainder + part.tensor()
            found = tucker(target, inner, outer, BLOCK_SWEEPS if number > 1 else sweeps)
            left = target - found.tensor()
            # Two sweeps from another start may fall short of the block that is there.
            if part is None or float(left.square().sum()) < float(remainder.square().sum()):
                parts[index], remainder = found, left
        now = float(remainder.square().sum())
        if number == 1 or before - now <= CONVERGED * whole:
            break
        before = now
    error = (float(remainder.square().sum()) / whole) ** 0.5 if whole > 0 else 0.0
    return Blocks(tuple(part for part in parts if part is not None), error)
