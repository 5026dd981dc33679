"""Similarity-preserving distillation (Tung and Mori, arXiv:1907.09682)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor
from torch.nn import functional

from edgesmith.compress.distill.term import LOSSES, Seen, Term

__all__ = ["SimilarityPreserving"]


@LOSSES.register("similarity")
class SimilarityPreserving(Term):
    """Squared difference of the batch's similarity matrices ``F F^T``, each row scaled to length 1, over ``N^2``.

    Args:
        layers: teacher's layer to student's layer; features of any shapes.
        weight: the paper's 3000 for batches of 128 on CIFAR; the value shrinks with the batch as ``1/N``.
    """

    needs_layers = True

    def __init__(self, layers: Mapping[str, str], weight: float = 3000.0) -> None:
        super().__init__(layers, weight)

    def forward(self, seen: Seen) -> Tensor:
        total = seen.student.new_zeros(())
        for theirs, own in seen.pairs:
            total = total + (_similarities(own) - _similarities(theirs)).square().mean()
        return total / len(seen.pairs)


def _similarities(features: Tensor) -> Tensor:
    rows = features.flatten(1)
    return functional.normalize(rows @ rows.T, dim=1)
