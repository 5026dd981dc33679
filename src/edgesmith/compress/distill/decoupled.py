"""Decoupled knowledge distillation (Zhao et al., arXiv:2203.08679)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from edgesmith.compress.distill.soft_logits import refuse_temperature
from edgesmith.compress.distill.term import LOSSES, Seen, Term

__all__ = ["Decoupled"]


@LOSSES.register("decoupled")
class Decoupled(Term):
    """``T^2 (alpha KL of {right class, all others} + beta KL among the other classes)``.

    ``SoftLogits`` weighs the second part by how uncertain the teacher is; here it counts fully, which helps where the
    teacher is almost always certain. Use it with ``hard=1`` in place of ``SoftLogits``. It needs three classes or more.

    Args:
        T: temperature.
        alpha, beta: weights of the two parts; the paper's for CIFAR-100 are 1 and 8, with few classes 1 to 2 is enough.

    Raises:
        BadInput: the temperature is not above 0 and finite.
    """

    def __init__(self, T: float = 4.0, alpha: float = 1.0, beta: float = 2.0, weight: float = 1.0) -> None:
        super().__init__(weight=weight)
        refuse_temperature(T, "decoupled")
        self.T, self.alpha, self.beta = T, alpha, beta

    def forward(self, seen: Seen) -> Tensor:
        right = functional.one_hot(seen.labels, seen.student.shape[1]).bool()
        targets, logits = seen.targets(self.T), seen.student / self.T
        log_all = torch.log_softmax(logits, 1)
        log_right = log_all[right]
        # The others' share is summed from their own logarithms: 1 - exp(log_right) would lose all digits near 1.
        log_others = torch.logsumexp(log_all.masked_fill(right, -torch.inf), 1)
        target = functional.kl_div(
            torch.stack((log_right, log_others), 1),
            torch.stack((targets[right], targets.masked_fill(right, 0).sum(1)), 1),
            reduction="batchmean",
        )
        count, classes = logits.shape
        others = targets[~right].view(count, classes - 1)
        others = others / others.sum(1, keepdim=True).clamp_min(torch.finfo(others.dtype).tiny)
        among = functional.kl_div(
            torch.log_softmax(logits[~right].view(count, classes - 1), 1), others, reduction="batchmean"
        )
        return self.T**2 * (self.alpha * target + self.beta * among)
