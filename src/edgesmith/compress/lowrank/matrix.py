"""The decomposition of a matrix into two factors, best for its entries or for the outputs that it makes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from edgesmith.compress.lowrank.method import Decomposition, Factors, Ranks
from edgesmith.compress.lowrank.moments import Moments
from edgesmith.compress.lowrank.spectrum import Spectrum, count_keeping

__all__ = ["MatrixDecomposition"]

TIE_BREAK = 1e-9
"""Share of the weights' own energy in the order of directions that the outputs hardly tell apart."""


class MatrixDecomposition(Decomposition):
    """A matrix W, (rows, columns), as the product of (rows, r) and (r, columns).

    Without moments the product is the truncated singular value decomposition. With moments of the outputs W x it is
    U U^T W, where U are the leading eigenvectors of their second moment: of all matrices of rank r the one whose
    outputs are nearest in the mean square. That equals the singular value decomposition of W C^(1/2) for the second
    moment C of the inputs, but needs no C. Where a bias is given, it takes up the mean, and deviations from it are
    approximated (Zhang et al., arXiv:1505.06798, section 3.1).
    """

    def __init__(self, matrix: Tensor, bias: Tensor | None = None, outputs: Moments | None = None) -> None:
        self.matrix, self.bias, self.outputs = matrix, bias, outputs
        self.limits = (min(matrix.shape),)

    @cached_property
    def _svd(self) -> tuple[Tensor, Tensor]:
        """Left singular vectors, and singular values."""
        if self.matrix.shape[0] > self.matrix.shape[1]:
            left, values, _ = torch.linalg.svd(self.matrix, full_matrices=False)
            return left, values
        squares, left = torch.linalg.eigh(self.matrix @ self.matrix.T)
        return left.flip(1), squares.flip(0).clamp_min(0.0).sqrt()

    @cached_property
    def _basis(self) -> tuple[Tensor, Tensor]:
        """Orthonormal columns, most important first, and the energy along each."""
        left, values = self._svd
        if self.outputs is None:
            return left, values.square()
        spread = self.outputs.spread(self.bias is not None)
        spread = left.T @ spread @ left
        own = torch.diag(values.square())
        scale = max(float(spread.trace()), torch.finfo(torch.float64).tiny)
        order = spread / scale + TIE_BREAK * own / max(float(own.trace()), torch.finfo(torch.float64).tiny)
        turn = torch.linalg.eigh(order).eigenvectors.flip(1)
        return left @ turn, (turn * (spread @ turn)).sum(0).clamp_min(0.0)

    @property
    def spectra(self) -> Sequence[Spectrum]:
        return (Spectrum(self._svd[1], *self.matrix.shape),)

    def keeping(self, energy: float) -> Ranks | None:
        return (count_keeping(self._basis[1], energy),)

    def factors(self, ranks: Ranks) -> Factors:
        (rank,) = ranks
        basis, energies = self._basis
        kept = basis[:, :rank]
        first = kept.T @ self.matrix
        lost, whole = float(energies[rank:].sum()), float(energies.sum())
        bias = self.bias
        if bias is not None and self.outputs is not None:
            bias = bias + self.outputs.mean - kept @ (kept.T @ self.outputs.mean)
        # Rows of the first factor and columns of the second share their norms, which training and quantisation prefer.
        scales = first.norm(dim=1).sqrt()
        scales = torch.where(scales > 0, scales, torch.ones_like(scales))
        error = (lost / whole) ** 0.5 if whole > 0 else 0.0
        return Factors(self.shaped(first / scales[:, None], kept * scales), bias, error)

    @abstractmethod
    def shaped(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Factors (r, columns) and (rows, r) as weights of layers."""
