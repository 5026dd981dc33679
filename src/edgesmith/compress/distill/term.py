"""What a distillation loss sees, and the registry of all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from edgesmith.registry import Registry

__all__ = ["LOSSES", "Seen", "Shapes", "Term"]

Shapes = Sequence[tuple[tuple[int, ...], tuple[int, ...]]]
"""For each pair of layers the shapes of the teacher's and the student's features, batch axis included."""


@dataclass(frozen=True)
class Seen:
    """One batch as the losses see it, in float32.

    Attributes:
        labels: (N,).
        student: (N, C), the student's logits or embedding.
        teachers: (K, N, C), those of each teacher, without gradients.
        shares: (K, N), how much each teacher counts for each example; the sum over K is 1.
        pairs: features of teacher and student, for each pair of layers of the loss.
    """

    labels: Tensor
    student: Tensor
    teachers: Tensor
    shares: Tensor
    pairs: Sequence[tuple[Tensor, Tensor]] = field(default=())

    def targets(self, temperature: float = 1.0) -> Tensor:
        """(N, C): the teachers' softened probabilities, mixed by their shares."""
        return (torch.softmax(self.teachers / temperature, 2) * self.shares[..., None]).sum(0)

    def teacher(self) -> Tensor:
        """(N, C): the teachers' logits or embeddings, mixed by their shares."""
        return (self.teachers * self.shares[..., None]).sum(0)


class Term(nn.Module):
    """One distillation loss; its parameters, where it has any, are trained with the student.

    Args:
        layers: teacher's layer to student's layer, for losses of features. ``layer:input`` is what the layer gets.
            With several teachers the layer of the second one is ``1.layer``.
        weight: factor on ``forward``'s result.
    """

    needs_layers: ClassVar[bool] = False
    needs_shapes: ClassVar[bool] = False
    hard: ClassVar[float] = 1.0
    """The weight that the cross entropy with the labels has beside this loss, unless the user says otherwise."""

    def __init__(self, layers: Mapping[str, str] | None = None, weight: float = 1.0) -> None:
        super().__init__()
        self.layers = dict(layers or {})
        self.weight = weight

    def build(self, shapes: Shapes) -> None:
        """Make the parameters, once the shapes of the features are known."""

    def forward(self, seen: Seen) -> Tensor:
        """The mean loss of the batch, a scalar."""
        raise NotImplementedError


LOSSES: Registry[type[Term]] = Registry("distillation loss", "edgesmith.compress.distill")
