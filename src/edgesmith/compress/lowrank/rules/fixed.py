"""Ranks that the user names."""

from __future__ import annotations

from dataclasses import dataclass

from edgesmith.compress.lowrank.method import Decomposition, Ranks
from edgesmith.compress.lowrank.rules.rule import LayerRule
from edgesmith.errors import BadInput

__all__ = ["Fixed", "Ratio"]


@dataclass(frozen=True)
class Fixed(LayerRule):
    """These ranks for every layer, or this one for each of a layer's ranks; at most the layer's full ranks.

    Raises:
        BadInput: a rank is below 1.
    """

    value: int | Ranks

    def __post_init__(self) -> None:
        if min((self.value,) if isinstance(self.value, int) else self.value, default=0) < 1:
            raise BadInput(f"rank {self.value} is below 1", where="rank", hint="give 1 or more")

    def ranks(self, name: str, decomposition: Decomposition) -> Ranks | str:
        value = self.value if isinstance(self.value, tuple) else (self.value,) * len(decomposition.limits)
        return decomposition.fitted(value)


@dataclass(frozen=True)
class Ratio(LayerRule):
    """This share of each layer's full ranks.

    Raises:
        BadInput: the share is not above 0 and at most 1.
    """

    share: float

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise BadInput(f"ratio {self.share} is no share", where="rank", hint="give one above 0 and at most 1")

    def ranks(self, name: str, decomposition: Decomposition) -> Ranks | str:
        return decomposition.fitted([max(1, round(self.share * full)) for full in decomposition.full])
