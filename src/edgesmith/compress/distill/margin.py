"""Margin softmax whose margin follows the teacher, for embeddings compared by their angle."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgesmith.compress.distill.term import LOSSES, Seen, Shapes, Term
from edgesmith.errors import BadInput

__all__ = ["Margin", "MarginHead", "teacher_margins"]


class MarginHead(nn.Module):
    """ArcFace's logits (Deng et al., arXiv:1801.07698), the margin given for each example.

    Args:
        centres: (C, D), the direction of each class.
        scale: factor on cosines.
        trained: whether the centres learn.
    """

    def __init__(self, centres: Tensor, scale: float = 64.0, trained: bool = True) -> None:
        super().__init__()
        self.scale = scale
        self.centres = nn.Parameter(centres.detach().clone(), requires_grad=trained)

    def cosines(self, embeddings: Tensor) -> Tensor:
        """(N, C) of embeddings (N, D)."""
        return functional.linear(functional.normalize(embeddings), functional.normalize(self.centres))

    def forward(self, embeddings: Tensor, labels: Tensor, margins: Tensor) -> Tensor:
        """Logits ``scale cos(angle)``, and ``scale cos(angle + margin)`` for the right class.

        Beyond ``angle = pi - margin``, where the cosine would rise again, it goes on falling with the cosine of the
        angle.

        Args:
            margins: (N,), in radians.
        """
        cosines = self.cosines(embeddings)
        own = cosines.gather(1, labels[:, None])[:, 0]
        sine = (1 - own.square()).clamp_min(1e-12).sqrt()
        moved = own * margins.cos() - sine * margins.sin()
        moved = torch.where(own > -margins.cos(), moved, own - 1 + margins.cos())
        return self.scale * cosines.scatter(1, labels[:, None], moved[:, None])


def teacher_margins(embeddings: Tensor, centres: Tensor, labels: Tensor, least: float, greatest: float) -> Tensor:
    """(N,): ``greatest`` where the teacher's embedding lies on its class centre, falling to ``least`` at 90 degrees.

    What the teacher places well can be demanded of the student; what it does not (a bad picture, a wrong label) is
    demanded less.

    Args:
        embeddings: (N, D), the teacher's.
        centres: (C, D), in the teacher's space.
        labels: (N,).
    """
    cosines = functional.cosine_similarity(embeddings, centres[labels])
    angles = torch.acos(cosines.clamp(-1, 1))
    return greatest - (greatest - least) * (angles / (math.pi / 2)).clamp(max=1)


@LOSSES.register("margin")
class Margin(Term):
    """Cross entropy of a ``MarginHead`` on the student's embedding; margins follow the teacher's angle to the centre.

    As in MarginDistillation (Svitov and Alyamkin, arXiv:2003.02586) the centres are the teacher's own where the
    embeddings have one length; the linear map from the teacher's closeness to the margin is that of Triplet
    distillation (arXiv:1905.04457). The labels count in this loss, so the distiller's ``hard`` is 0. Add ``Angular``.

    Args:
        centres: (C, D), the teacher's: the weights of its last layer, or the mean embedding of each class.
        least, greatest: margins in radians.
        scale: factor on cosines; 64 for thousands of classes, 16 to 32 for tens.
        trained: whether the student's centres learn; where its embedding has another length than the teacher's,
            they begin at random and always do.
    """

    needs_shapes = True
    hard = 0.0

    def __init__(
        self,
        centres: Tensor,
        least: float = 0.2,
        greatest: float = 0.5,
        scale: float = 32.0,
        trained: bool = False,
        weight: float = 1.0,
    ) -> None:
        super().__init__(weight=weight)
        if not 0 <= least <= greatest < math.pi / 2:
            raise BadInput(f"margins from {least} to {greatest}", where="margin", hint="0 <= least <= greatest < pi/2")
        self.least, self.greatest, self.scale, self.trained = least, greatest, scale, trained
        self.register_buffer("centres", functional.normalize(centres.detach().float()))
        self.head: MarginHead | None = None

    def build(self, shapes: Shapes) -> None:
        ((theirs, own),) = shapes
        centres: Tensor = self.get_buffer("centres")
        if centres.ndim != 2 or centres.shape[1] != theirs[1]:
            raise BadInput(f"centres {tuple(centres.shape)} for embeddings {theirs}", where="margin", hint="(C, D)")
        if own[1] == theirs[1]:
            self.head = MarginHead(centres, self.scale, self.trained)
        else:
            self.head = MarginHead(torch.randn(len(centres), own[1]), self.scale, True)

    def forward(self, seen: Seen) -> Tensor:
        assert self.head is not None
        centres = self.get_buffer("centres")
        margins = teacher_margins(seen.teacher(), centres, seen.labels, self.least, self.greatest)
        return functional.cross_entropy(self.head(seen.student, seen.labels, margins), seen.labels)
