"""Training on after a network was made smaller."""

from __future__ import annotations

from dataclasses import dataclass

from edgesmith.chain.learning import Taught, train
from edgesmith.chain.stage import Outcome, stage
from edgesmith.chain.work import Work

__all__ = ["Finetune"]


@stage("finetune")
@dataclass(frozen=True, kw_only=True)
class Finetune(Taught):
    """As ``train`` with a tenth of the rate, falling to 0; with a teacher where one is named."""

    lr: float = 0.005
    schedule: str = "cosine"

    def run(self, work: Work) -> Outcome:
        loss, extra, closing = self.loss(work)
        with closing:
            said = train(work, work.module, self.settings(work.recipe.seed), loss=loss, extra=extra)
        return Outcome(work.module, epochs=self.epochs, notes=(said,))
