"""Ranks that suit the registers of a processor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgesmith.compress.lowrank.method import Decomposition, Ranks
from edgesmith.compress.lowrank.rules.rule import LayerRule
from edgesmith.errors import BadInput

__all__ = ["Rounded"]


@dataclass(frozen=True)
class Rounded(LayerRule):
    """Another rule's ranks, rounded to the nearest multiple, and at least one multiple; at most the full ranks.

    Raises:
        BadInput: the multiple is below 1.
    """

    rule: LayerRule
    multiple: int = 8

    def __post_init__(self) -> None:
        if self.multiple < 1:
            raise BadInput(f"multiple {self.multiple} is below 1", where="rank", hint="give 1 or more")

    def patterns(self) -> Sequence[str]:
        return self.rule.patterns()

    def ranks(self, name: str, decomposition: Decomposition) -> Ranks | str:
        found = self.rule.ranks(name, decomposition)
        return found if isinstance(found, str) else decomposition.fitted(found, self.multiple)
