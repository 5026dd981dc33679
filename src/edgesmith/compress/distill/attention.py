"""Attention transfer (Zagoruyko and Komodakis, arXiv:1612.03928)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor
from torch.nn import functional

from edgesmith.compress.distill.hints import same_size
from edgesmith.compress.distill.term import LOSSES, Seen, Term
from edgesmith.errors import BadInput

__all__ = ["AttentionTransfer"]


@LOSSES.register("attention")
class AttentionTransfer(Term):
    """Squared distance of normalised attention maps: where in the picture features are large, whatever their number.

    A map is the mean square over channels, flattened and scaled to length 1; there is nothing to train, and channels
    need not agree. Larger features are averaged down first. Choose the ends of the stages, and add ``SoftLogits``.

    Args:
        layers: teacher's layer to student's layer, features (N, C, H, W).
        weight: of the squared distance, which is 0 to 2 whatever the size of the maps; 16 is the authors' 1000 per
            element of a map of 8x8.
    """

    needs_layers = True

    def __init__(self, layers: Mapping[str, str], weight: float = 16.0) -> None:
        super().__init__(layers, weight)

    def forward(self, seen: Seen) -> Tensor:
        total = seen.student.new_zeros(())
        for theirs, own in seen.pairs:
            if theirs.ndim != 4 or own.ndim != 4:
                raise BadInput(
                    f"features of shapes {tuple(theirs.shape)} and {tuple(own.shape)} have no picture",
                    where="attention",
                    hint="layers before the pooling: (N, C, H, W)",
                )
            theirs, own = same_size(theirs, own)
            total = total + (_map(own) - _map(theirs)).square().sum(1).mean()
        return total / len(seen.pairs)


def _map(features: Tensor) -> Tensor:
    return functional.normalize(features.square().mean(1).flatten(1), dim=1)
