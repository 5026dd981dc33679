"""Hints: the student's features predict the teacher's (FitNets, Romero et al., arXiv:1412.6550)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional

from edgesmith.compress.distill.term import LOSSES, Seen, Shapes, Term
from edgesmith.errors import BadInput

__all__ = ["Hints"]


@LOSSES.register("hints")
class Hints(Term):
    """Squared error between the teacher's features and a linear map (1x1 convolution) of the student's.

    The map is trained with the student (``kd.adapters``) and not needed afterwards. Where sizes differ, the larger
    features are averaged down. Choose layers of the same depth relative to the network, in the middle rather than at
    the end.

    Args:
        layers: teacher's layer to student's layer.
        relative: divide by the mean square of the teacher's features, so that ``weight`` means the same for any layer;
            False: the paper's plain squared error.
    """

    needs_layers = needs_shapes = True

    def __init__(self, layers: Mapping[str, str], weight: float = 1.0, relative: bool = True) -> None:
        super().__init__(layers, weight)
        self.relative = relative
        self.regressors = nn.ModuleList()

    def build(self, shapes: Shapes) -> None:
        for (teacher, student), (theirs, own) in zip(self.layers.items(), shapes, strict=True):
            if len(theirs) != len(own) or len(own) not in (2, 4):
                raise BadInput(
                    f"features of shapes {theirs} and {own}",
                    where=f"hints: {teacher}, {student}",
                    hint="(N, C[, H, W])",
                )
            plain = len(own) == 2
            self.regressors.append(
                nn.Linear(own[1], theirs[1]) if plain else nn.Conv2d(own[1], theirs[1], 1, bias=False)
            )

    def forward(self, seen: Seen) -> Tensor:
        total = seen.student.new_zeros(())
        for regressor, (theirs, own) in zip(self.regressors, seen.pairs, strict=True):
            theirs, own = same_size(theirs, own)
            error = functional.mse_loss(regressor(own), theirs)
            total = total + (error / theirs.square().mean().clamp_min(1e-12) if self.relative else error)
        return total / len(seen.pairs)


def same_size(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Features (N, C, H, W), the larger ones averaged down to the size of the smaller; others as they are."""
    if a.ndim != 4 or b.ndim != 4 or a.shape[2:] == b.shape[2:]:
        return a, b
    size = (min(a.shape[2], b.shape[2]), min(a.shape[3], b.shape[3]))
    return functional.adaptive_avg_pool2d(a, size), functional.adaptive_avg_pool2d(b, size)
