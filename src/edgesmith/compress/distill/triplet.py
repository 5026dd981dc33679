"""Triplet distillation: margins between examples that follow the teacher (Feng et al., arXiv:1905.04457)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from edgesmith.compress.distill.term import LOSSES, Seen, Term
from edgesmith.errors import BadInput

__all__ = ["Triplet"]


@LOSSES.register("triplet")
class Triplet(Term):
    """``max(0, D(a, p) - D(a, n) + m)`` over all triplets of a batch; D is the squared distance on the unit sphere.

    The margin of a triplet is ``(greatest - least) d / d_max + least`` with the teacher's own gap
    ``d = max(0, D_t(a, n) - D_t(a, p))`` and the batch's largest one. Triplets that meet their margin do not count in
    the mean. Batches need several examples of a class.

    Args:
        least, greatest: margins; the paper's are 0.2 and 0.5.
    """

    hard = 0.0

    def __init__(self, least: float = 0.2, greatest: float = 0.5, weight: float = 1.0) -> None:
        super().__init__(weight=weight)
        if not 0 <= least <= greatest:
            raise BadInput(f"margins from {least} to {greatest}", where="triplet", hint="0 <= least <= greatest")
        self.least, self.greatest = least, greatest

    def forward(self, seen: Seen) -> Tensor:
        gaps = _gaps(seen.teacher()).clamp_min(0)
        same = seen.labels[:, None] == seen.labels[None]
        positive = same & ~torch.eye(len(same), dtype=torch.bool, device=same.device)
        valid = positive[:, :, None] & ~same[:, None, :]
        widest = torch.where(valid, gaps, 0).max().clamp_min(1e-12)
        margins = (self.greatest - self.least) * gaps / widest + self.least
        losses = torch.where(valid, functional.relu(margins - _gaps(seen.student)), 0)
        return losses.sum() / (losses > 0).sum().clamp_min(1)


def _gaps(embeddings: Tensor) -> Tensor:
    """(anchor, positive, negative): how much further the negative is than the positive."""
    points = functional.normalize(embeddings)
    squares = 2 - 2 * points @ points.T
    return squares[:, None, :] - squares[:, :, None]
