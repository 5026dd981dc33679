"""The rank of a noisy matrix, by variational Bayes in closed form."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from edgesmith.compress.lowrank.spectrum import Spectrum

__all__ = ["planted_rank"]

GRID = 1024


def planted_rank(spectrum: Spectrum) -> int:
    """How many singular values stand out of noise of unknown variance; zero where none do.

    The global solution of empirical variational Bayesian matrix factorisation: Nakajima, Sugiyama, Babacan and Tomioka,
    "Global analytic solution of fully-observed variational Bayesian matrix factorization", JMLR 14 (2013); the bounds
    of the noise variance are those of Nakajima, Tomioka, Sugiyama and Babacan, "Condition for perfect dimensionality
    recovery by variational Bayesian PCA", JMLR 16 (2015).
    """
    short, long = sorted((spectrum.rows, spectrum.columns))
    squares = spectrum.values.double().square()[:short]
    if float(squares.sum()) == 0:
        return 0
    alpha = short / long
    tau = _least_tau(alpha)
    threshold = (1 + tau) * (1 + alpha / tau)
    variance = _noise_variance(squares, short, long, alpha, threshold)
    return int((squares > long * variance * threshold).sum())


def _least_tau(alpha: float) -> float:
    """The zero of phi(tau) + phi(tau / alpha) with phi(z) = log(1 + z) / z - 1 / 2."""

    def phi(z: float) -> float:
        return math.log1p(z) / z - 0.5

    low, high = 1e-12, 10.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if phi(middle) + phi(middle / alpha) > 0 else (low, middle)
    return high


def _noise_variance(squares: Tensor, short: int, long: int, alpha: float, threshold: float) -> float:
    """The variance of the least free energy: on a grid in its logarithm, then between the neighbours of the best."""
    upper = float(squares.sum()) / (short * long)
    most = min(math.ceil(short / (1 + alpha)) - 1, short - 1)
    lower = max(float(squares[most]) / (long * threshold), float(squares[most:].mean()) / long, upper * 1e-12)
    low, high = math.log(min(lower, upper)), math.log(upper)
    for _ in range(4):
        grid = torch.linspace(low, high, GRID, dtype=torch.float64, device="cpu")
        best = int(_free_energy(grid.exp(), squares, long, alpha, threshold).argmin())
        low, high = float(grid[max(best - 1, 0)]), float(grid[min(best + 1, GRID - 1)])
    return math.exp((low + high) / 2)


def _free_energy(variances: Tensor, squares: Tensor, long: int, alpha: float, threshold: float) -> Tensor:
    """Up to a constant, for each of the variances."""
    total = torch.zeros_like(variances)
    for square in squares.tolist():
        x = square / (long * variances)
        total += x - x.clamp_min(1e-300).log()
        middle = x - (1 + alpha)
        tau = (middle + (middle.square() - 4 * alpha).clamp_min(0.0).sqrt()) / 2
        tau = tau.clamp_min(1e-12)
        standing_out = torch.log1p(tau) + alpha * torch.log1p(tau / alpha) - tau
        total += torch.where(x > threshold, standing_out, torch.zeros_like(x))
    return total
