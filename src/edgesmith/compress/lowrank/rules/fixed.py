"""Ranks that the user names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import index

from edgesmith.compress.lowrank.method import Decomposition, Ranks
from edgesmith.compress.lowrank.rules.rule import LayerRule
from edgesmith.errors import BadInput

__all__ = ["Fixed", "Ratio"]


@dataclass(frozen=True)
class Fixed(LayerRule):
    """These ranks for every layer, or this one for each of a layer's ranks; at most the layer's full ranks.

    Raises:
        BadInput: a rank is no whole number or below 1.
    """

    value: int | Sequence[int]

    def __post_init__(self) -> None:
        try:
            given = [index(rank) for rank in (self.value if isinstance(self.value, Sequence) else (self.value,))]
        except TypeError as error:
            raise BadInput(f"rank {self.value!r} is no whole number", where="rank", hint="give 1 or more") from error
        if min(given, default=0) < 1:
            raise BadInput(f"rank {self.value} is below 1", where="rank", hint="give 1 or more")

    def fitted(self, decomposition: Decomposition) -> Ranks:
        """For one layer.

        Raises:
            BadInput: it has another number of ranks.
        """
        value = self.value if isinstance(self.value, Sequence) else (self.value,) * len(decomposition.limits)
        return decomposition.fitted([index(rank) for rank in value])

    def ranks(self, name: str, decomposition: Decomposition) -> Ranks | str:
        return self.fitted(decomposition)


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
