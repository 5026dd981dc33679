"""Canonical polyadic decomposition of convolution weights, by regularised alternating least squares."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Canonical", "canonical"]

SWEEPS = 200
CONVERGED = 1e-6
"""Change of the error in a sweep, as a share of the norm."""
PENALTY = 1e-6
"""On the squared norms of the factors of weights of norm 1."""


@dataclass(frozen=True)
class Canonical:
    """Weights as a sum of R outer products, one column each.

    Attributes:
        outputs, inputs, height, width: (T, R), (S, R), (kh, R) and (kw, R).
        error: norm of the difference over the norm of the weights.
    """

    outputs: Tensor
    inputs: Tensor
    height: Tensor
    width: Tensor
    error: float

    def tensor(self) -> Tensor:
        """The weights that the factors stand for, (T, S, kh, kw)."""
        window = torch.einsum("hr,wr->hwr", self.height, self.width)
        return torch.einsum("tr,sr,hwr->tshw", self.outputs, self.inputs, window)


def canonical(weight: Tensor, rank: int, sweeps: int = SWEEPS) -> Canonical:
    """The decomposition found from a seeded random start.

    Each step solves for one factor with a penalty on its squared norm, and the columns of a component then share their
    norms. So the penalised error never rises from step to step, the error never exceeds the norm of the weights, and
    components that cancel each other, which make the plain problem ill-posed (de Silva and Lim, 2008), stay bounded.

    Args:
        weight: (T, S, kh, kw), in float64.
        rank: number of components.
        sweeps: at most as many.
    """
    _, inputs, height, width = weight.shape
    norm = float(weight.norm())
    generator = torch.Generator("cpu").manual_seed(0)
    starts = [torch.randn(n, rank, dtype=torch.float64, generator=generator, device="cpu") for n in weight.shape]
    factors = [(start / len(start) ** 0.5).to(weight.device) for start in starts]
    if norm == 0:
        return Canonical(factors[0] * 0, factors[1] * 0, factors[2] * 0, factors[3] * 0, 0.0)
    unit = weight / norm
    by_output, by_input = unit.flatten(1), unit.transpose(0, 1).flatten(1)
    error = 1.0
    for _ in range(max(1, sweeps)):
        window = torch.einsum("hr,wr->hwr", factors[2], factors[3]).flatten(0, 1)
        factors[0] = _solve(by_output @ _columns(factors[1], window), (factors[1], window))
        factors[1] = _solve(by_input @ _columns(factors[0], window), (factors[0], window))
        left = (by_output.T @ factors[0]).reshape(inputs, height, width, rank)
        seen = torch.einsum("shwr,sr->hwr", left, factors[1])
        factors[2] = _solve((seen * factors[3]).sum(1), (factors[0], factors[1], factors[3]))
        factors[3] = _solve((seen * factors[2][:, None]).sum(0), (factors[0], factors[1], factors[2]))
        product = torch.einsum("hwr,hr,wr->", seen, factors[2], factors[3])
        square = _hadamard(tuple(factors)).sum()
        before, error = error, float((1.0 - 2.0 * product + square).clamp_min(0.0).sqrt())
        factors = _balanced(factors)
        if abs(before - error) <= CONVERGED:
            break
    columns = [factor * norm**0.25 for factor in factors]
    found = Canonical(columns[0], columns[1], columns[2], columns[3], error)
    exact = float((weight - found.tensor()).norm()) / norm
    return Canonical(found.outputs, found.inputs, found.height, found.width, exact)


def _columns(first: Tensor, second: Tensor) -> Tensor:
    """The Khatri-Rao product."""
    return (first[:, None, :] * second[None, :, :]).flatten(0, 1)


def _hadamard(factors: tuple[Tensor, ...]) -> Tensor:
    product = factors[0].T @ factors[0]
    for factor in factors[1:]:
        product = product * (factor.T @ factor)
    return product


def _solve(right: Tensor, others: tuple[Tensor, ...]) -> Tensor:
    gram = _hadamard(others)
    gram.diagonal().add_(PENALTY)
    return torch.cholesky_solve(right.T, torch.linalg.cholesky(gram)).T


def _balanced(factors: list[Tensor]) -> list[Tensor]:
    tiny = torch.finfo(torch.float64).tiny
    norms = [factor.norm(dim=0).clamp_min(tiny) for factor in factors]
    shared = torch.exp(torch.stack([torch.log(n) for n in norms]).mean(0))
    return [factor * (shared / n) for factor, n in zip(factors, norms, strict=True)]
