"""Training with a teacher."""

from __future__ import annotations

from dataclasses import dataclass

from edgesmith.chain.learning import Taught, train
from edgesmith.chain.stage import Outcome, Stage, stage
from edgesmith.chain.work import Work
from edgesmith.errors import BadInput

__all__ = ["Distil"]


@stage("distil")
@dataclass(frozen=True, kw_only=True)
class Distil(Taught):
    """The network learns from a teacher's outputs beside the labels."""

    def check(self, index: int, before: tuple[Stage, ...], where: str) -> None:
        if self.teacher == "":
            hint = 'teacher = 1 (a stage), or "zoo:NAME checkpoint=FILE"'
            raise BadInput("distil needs a teacher", where=where, hint=hint)
        super().check(index, before, where)

    def run(self, work: Work) -> Outcome:
        loss, extra, closing = self.loss(work)
        with closing:
            said = train(work, work.module, self.settings(work.recipe.seed), loss=loss, extra=extra)
        return Outcome(work.module, epochs=self.epochs, notes=(said,))
