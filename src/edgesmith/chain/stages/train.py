"""Training from first weights, or on from a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass

from edgesmith.chain.learning import Learning, train
from edgesmith.chain.stage import Outcome, stage
from edgesmith.chain.work import Work

__all__ = ["Train"]


@stage("train")
@dataclass(frozen=True, kw_only=True)
class Train(Learning):
    """Cross entropy with the labels."""

    def run(self, work: Work) -> Outcome:
        said = train(work, work.module, self.settings(work.recipe.seed))
        return Outcome(work.module, epochs=self.epochs, notes=(said,))
