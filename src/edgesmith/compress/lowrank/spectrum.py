"""Singular values of a matrix, and how many of them hold a share of its energy."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Spectrum", "count_keeping"]


@dataclass(frozen=True)
class Spectrum:
    """Singular values of a matrix of ``rows`` x ``columns``, largest first."""

    values: Tensor
    rows: int
    columns: int

    @staticmethod
    def of(matrix: Tensor) -> Spectrum:
        """Of a matrix in float64, from its Gram matrix: squares are exact to the largest one's rounding."""
        rows, columns = matrix.shape
        gram = matrix @ matrix.T if rows <= columns else matrix.T @ matrix
        return Spectrum(torch.linalg.eigvalsh(gram).flip(0).clamp_min(0.0).sqrt(), rows, columns)

    def keeping(self, energy: float) -> int:
        """The least number of singular values, at least one, whose squares sum up to this share of all squares."""
        return count_keeping(self.values.square(), energy)


def count_keeping(energies: Tensor, share: float) -> int:
    """The least number of leading entries, at least one, that sum up to ``share`` of all.

    Args:
        energies: not negative, in any order.
    """
    # What is cut is summed from the smallest entry on, so that a share of 1 cuts nothing but zeros.
    tail = energies.flip(0).cumsum(0)
    cut = int((tail <= (1.0 - share) * float(tail[-1])).sum()) if len(tail) else 0
    return max(1, len(energies) - cut)
