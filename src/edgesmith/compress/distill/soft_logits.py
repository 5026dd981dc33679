"""Softened class probabilities (Hinton, Vinyals and Dean, arXiv:1503.02531)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from edgesmith.compress.distill.term import LOSSES, Seen, Term
from edgesmith.errors import BadInput

__all__ = ["SoftLogits", "divergence", "refuse_temperature"]


def refuse_temperature(T: float, where: str) -> None:
    """
    Raises:
        BadInput: it is not above 0, or not finite.
    """
    if not 0 < T < math.inf:
        raise BadInput(f"a temperature of {T} is not above 0 and finite", where=where, hint="such as T=4.0")


def divergence(targets: Tensor, logits: Tensor) -> Tensor:
    """Kullback-Leibler divergence of ``softmax(logits)`` from probabilities (N, C), mean over the batch."""
    return functional.kl_div(torch.log_softmax(logits, 1), targets, reduction="batchmean")


@LOSSES.register("soft-logits")
class SoftLogits(Term):
    """``T^2 KL(p_T || q_T)``: the student's probabilities at temperature T follow the teachers'.

    The strongest single loss for classification, and the first one to try. T=4 is a good start; 1 to 2 where the
    teacher is far from certain (noisy labels, two classes), more where its second choices carry much. Train longer than
    without a teacher, show both networks the same augmented pictures, and use no label smoothing in the teacher's own
    training (arXiv:1906.02629: it removes what the student learns from).

    Args:
        T: temperature.
        weight: 0.9 beside 0.1 of cross entropy is the paper's balance.

    Raises:
        BadInput: the temperature is not above 0 and finite.
    """

    hard = 0.1

    def __init__(self, T: float = 4.0, weight: float = 0.9) -> None:
        super().__init__(weight=weight)
        refuse_temperature(T, "soft-logits")
        self.T = T

    def forward(self, seen: Seen) -> Tensor:
        return self.T**2 * divergence(seen.targets(self.T), seen.student / self.T)
