"""Deep mutual learning: students that teach each other (Zhang et al., arXiv:1706.00384)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgesmith.compress.distill.soft_logits import divergence, refuse_temperature
from edgesmith.compress.training.callbacks import Loss
from edgesmith.errors import BadInput

__all__ = ["Peers", "mutual", "mutual_loss"]


class Peers(nn.Module):
    """Several students as one module whose outputs are theirs; an evaluation sees the first one's.

    ::

        fit(Peers(small, other), data, settings, loss=mutual())

    Students that begin with different weights learn more from each other; a larger one may be among them.
    """

    def __init__(self, *students: nn.Module) -> None:
        super().__init__()
        if len(students) < 2:
            raise BadInput(f"{len(students)} students", where="mutual learning", hint="two or more")
        self.students = nn.ModuleList(students)

    def forward(self, inputs: Tensor) -> tuple[Tensor, ...]:
        return tuple(student(inputs) for student in self.students)


def mutual_loss(outputs: Sequence[Tensor], labels: Tensor, *, T: float = 1.0, weight: float = 1.0) -> Tensor:
    """Sum over students of cross entropy and mean divergence from the others' probabilities, which get no gradients.

    All students step at once on the outputs of one evaluation; in the paper they step in turns.

    Args:
        outputs: logits (N, C) of each student.
        labels: (N,).
        T: temperature of the divergence, which is multiplied by ``T^2``; the paper's is 1.
        weight: of the divergence.

    Raises:
        BadInput: the temperature is not above 0 and finite.
    """
    refuse_temperature(T, "mutual learning")
    total = outputs[0].new_zeros(())
    for i, own in enumerate(outputs):
        total = total + functional.cross_entropy(own, labels)
        for j, other in enumerate(outputs):
            if i != j:
                targets = torch.softmax(other.detach() / T, 1)
                total = total + weight * T**2 * divergence(targets, own / T) / (len(outputs) - 1)
    return total


def mutual(T: float = 1.0, weight: float = 1.0) -> Loss:
    """``mutual_loss`` of ``Peers``, for ``fit``.

    Raises:
        BadInput: the temperature is not above 0 and finite.
    """
    refuse_temperature(T, "mutual learning")
    return lambda module, inputs, labels: mutual_loss(module(inputs), labels, T=T, weight=weight)
