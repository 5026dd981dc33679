"""Ranks by the share of the energy that is kept."""

from __future__ import annotations

from dataclasses import dataclass

from edgesmith.compress.lowrank.method import Decomposition, Ranks
from edgesmith.compress.lowrank.rules.rule import LayerRule
from edgesmith.errors import BadInput

__all__ = ["Energy"]


@dataclass(frozen=True)
class Energy(LayerRule):
    """The least ranks that keep this share of the squared norm of the weights, or of the outputs on calibration data.

    Raises:
        BadInput: the share is not above 0 and at most 1.
    """

    keep: float

    def __post_init__(self) -> None:
        if not 0 < self.keep <= 1:
            raise BadInput(f"energy {self.keep} is no share", where="rank", hint="give one above 0 and at most 1")

    def ranks(self, name: str, decomposition: Decomposition) -> Ranks | str:
        found = decomposition.keeping(self.keep)
        if found is None:
            return f"no factors smaller than the layer keep {self.keep:.4g} of its energy"
        return decomposition.fitted(found)
