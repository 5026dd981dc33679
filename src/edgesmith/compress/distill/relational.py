"""Relational knowledge distillation: distances and angles between examples (Park et al., arXiv:1904.05068)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from edgesmith.compress.distill.term import LOSSES, Seen, Term

__all__ = ["Relational"]


@LOSSES.register("relational")
class Relational(Term):
    """Huber loss between the relations of all pairs (distances over their mean) and triples (cosines) of a batch.

    It works between spaces of different size, so for embeddings too, and costs memory cubic in the batch: 64 to 128.

    Args:
        layers: teacher's layer to student's layer, such as the pooled features; None: the outputs.
        distance, angle: weights of the two parts; the paper's for classification are 25 and 50, for embeddings 1 and 2.
    """

    def __init__(
        self,
        layers: Mapping[str, str] | None = None,
        distance: float = 25.0,
        angle: float = 50.0,
        weight: float = 1.0,
    ) -> None:
        super().__init__(layers, weight)
        self.distance, self.angle = distance, angle

    def forward(self, seen: Seen) -> Tensor:
        pairs = seen.pairs or ((seen.teacher(), seen.student),)
        total = seen.student.new_zeros(())
        for theirs, own in pairs:
            theirs, own = theirs.flatten(1), own.flatten(1)
            total = total + self.distance * functional.smooth_l1_loss(_distances(own), _distances(theirs))
            if self.angle:
                total = total + self.angle * functional.smooth_l1_loss(_angles(own), _angles(theirs))
        return total / len(pairs)


def _distances(points: Tensor) -> Tensor:
    """(N, N): Euclidean distances, divided by the mean of those that are not 0."""
    squares = (points[:, None] - points[None]).square().sum(2)
    apart = squares > 0
    # The root's slope at 0 is infinite, so zeros are replaced before it and after it.
    distances = torch.where(apart, squares, 1.0).sqrt() * apart
    return distances / (distances.sum() / apart.sum().clamp_min(1)).clamp_min(1e-12)


def _angles(points: Tensor) -> Tensor:
    """(N, N, N): cosine of the angle at the first of three points."""
    directions = functional.normalize(points[None] - points[:, None], dim=2)
    return directions @ directions.transpose(1, 2)
