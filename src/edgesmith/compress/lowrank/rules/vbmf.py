"""Ranks by variational Bayes."""

from __future__ import annotations

from dataclasses import dataclass

from edgesmith.compress.lowrank.method import Decomposition, Ranks
from edgesmith.compress.lowrank.rules.rule import LayerRule
from edgesmith.compress.lowrank.vbmf import planted_rank

__all__ = ["VBMF"]


@dataclass(frozen=True)
class VBMF(LayerRule):
    """As many components as stand out of the noise in the weights: see ``lowrank.vbmf.planted_rank``.

    Trained weights are no low-rank matrix plus noise, so that these ranks are small; fine-tuning is meant to follow
    (Kim et al., arXiv:1511.06530).
    """

    def ranks(self, name: str, decomposition: Decomposition) -> Ranks | str:
        found = tuple(planted_rank(spectrum) for spectrum in decomposition.spectra)
        if not all(found):
            return "nothing in its weights stands out of noise"
        return decomposition.fitted(decomposition.recovered(found))
