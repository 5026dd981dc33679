"""Angular distillation of embeddings (ShrinkTeaNet, Duong et al., arXiv:1905.10620)."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional

from edgesmith.compress.distill.term import LOSSES, Seen, Shapes, Term

__all__ = ["Angular"]


@LOSSES.register("angular")
class Angular(Term):
    """``(1 - cos(teacher, student))^2``: the direction of embeddings is learnt, their length left free.

    For embeddings that are compared by their angle, as faces are. Add ``Margin``, with ``hard=0`` in the distiller.

    Args:
        layers: teacher's layer to student's layer; None: the outputs. Features (N, C, H, W) are flattened.
            Where lengths differ, a linear map of the student's features is trained too.
    """

    needs_shapes = True

    def __init__(self, layers: Mapping[str, str] | None = None, weight: float = 1.0) -> None:
        super().__init__(layers, weight)
        self.maps = nn.ModuleList()

    def build(self, shapes: Shapes) -> None:
        for theirs, own in shapes:
            given, wanted = math.prod(own[1:]), math.prod(theirs[1:])
            self.maps.append(nn.Identity() if given == wanted else nn.Linear(given, wanted, bias=False))

    def forward(self, seen: Seen) -> Tensor:
        pairs = seen.pairs or ((seen.teacher(), seen.student),)
        total = seen.student.new_zeros(())
        for change, (theirs, own) in zip(self.maps, pairs, strict=True):
            cosine = functional.cosine_similarity(change(own.flatten(1)), theirs.flatten(1))
            total = total + (1 - cosine).square().mean()
        return total / len(pairs)
