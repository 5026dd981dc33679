"""Which sets of weights may be zero: one by one, N of M, or whole blocks."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from edgesmith.errors import BadInput
from edgesmith.registry import Registry

__all__ = ["PATTERNS", "Pattern", "largest"]


class Pattern(ABC):
    """Units of weights that are kept or cut as one. Subclasses are frozen dataclasses."""

    may_be_global = True
    """Whether units of different layers can be ranked together."""

    def refuses(self, shape: torch.Size) -> str | None:
        """Why a weight of this shape, (outputs, inputs, ...), has no such units, or None."""
        return None

    @abstractmethod
    def scores(self, weight: Tensor) -> Tensor:
        """How important each unit is: the root of its mean square."""

    @abstractmethod
    def spread(self, units: Tensor, shape: torch.Size) -> Tensor:
        """What holds for units as what holds for the elements of a weight of this shape."""

    def chosen(self, scores: Tensor, density: float) -> Tensor:
        """The units that are kept, as booleans: those of the largest scores, one at least."""
        return largest(scores, max(1, round(density * scores.numel())))

    def mask(self, weight: Tensor, density: float) -> Tensor:
        """The elements of a weight that are kept, as booleans."""
        return self.spread(self.chosen(self.scores(weight), density), weight.shape)

    def final_density(self, density: float | None) -> float:
        """The density that training ends with.

        Raises:
            BadInput: the pattern needs one, or has one of its own.
        """
        return density_given(density)


def largest(scores: Tensor, count: int) -> Tensor:
    """Exactly ``count`` true elements, at the largest scores; of equal ones the first."""
    kept = torch.zeros(scores.numel(), dtype=torch.bool, device=scores.device)
    kept[torch.argsort(scores.flatten(), descending=True, stable=True)[:count]] = True
    return kept.reshape(scores.shape)


def density_given(density: float | None) -> float:
    """The density, if it is one."""
    if density is None or not 0 < density <= 1:
        raise BadInput(
            f"density {density} is no share", where="Sparsifier", hint="give one above 0, such as density=0.2"
        )
    return density


PATTERNS: Registry[type[Pattern]] = Registry("sparsity pattern", "edgesmith.compress.sparsify.patterns")
