"""Training as part of stages: the keys that all of them share, and how they become a run."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from edgesmith.chain.models import digest
from edgesmith.chain.recipe import ZOO, model_spec
from edgesmith.chain.stage import Stage
from edgesmith.chain.work import Work
from edgesmith.compress.training import Settings, fit
from edgesmith.errors import BadInput

__all__ = ["Learning", "Taught", "train"]

KEPT = "training"


@dataclass(frozen=True, kw_only=True)
class Learning(Settings, Stage):
    """A stage whose keys are those of a training; ``seed`` is added to the recipe's."""

    def settings(self, seed: int) -> Settings:
        """For a run; raises ``BadInput`` where a value is out of range."""
        return Settings(**{**{f.name: getattr(self, f.name) for f in fields(Settings)}, "seed": seed + self.seed})

    @property
    def planned_epochs(self) -> int:
        return self.epochs


@dataclass(frozen=True, kw_only=True)
class Taught(Learning):
    """A training that may have a teacher.

    Args:
        teacher: a stage before this one by its number, 0 for the model of the recipe itself; or a model such as
            ``"zoo:resnet-18 width=0.5 checkpoint=teacher.pt"``; empty: none.
        losses: names of ``compress.distill.LOSSES``.
        temperature: of the losses that have one.
        hard: weight of the labels' own loss (default: the losses' own advice).
    """

    teacher: int | str = ""
    losses: tuple[str, ...] = ("soft-logits",)
    temperature: float = 4.0
    hard: float | None = None

    def depends(self, path: Callable[[str], Path]) -> list[str]:
        return [digest(model_spec(self.teacher), path)] if isinstance(self.teacher, str) and self.teacher else []

    def check(self, index: int, before: tuple[Stage, ...], where: str) -> None:
        if isinstance(self.teacher, int) and not 0 <= self.teacher <= index:
            raise BadInput(f"teacher {self.teacher} is no stage before this one", where=where, hint=f"0 to {index}")
        if isinstance(self.teacher, str) and self.teacher:
            spec = model_spec(self.teacher)
            if not spec.checkpoint and spec.network.startswith(ZOO):
                hint = "add checkpoint=FILE, or name a stage by its number"
                raise BadInput(f"teacher {self.teacher!r} has not learned anything", where=where, hint=hint)

    def loss(self, work: Work, student: Any = None) -> tuple[Any, Sequence[Any], AbstractContextManager[Any]]:
        """The loss of ``fit``, the modules that it trains as well, and what is to be closed.

        Args:
            student: what learns (default: the stage's module).
        """
        if self.teacher == "":
            return None, (), nullcontext()
        from edgesmith.compress.distill import LOSSES, Distiller

        spec = self.teacher
        teacher = work.before[spec].load() if isinstance(spec, int) else work.build(model_spec(spec))
        terms = []
        for name in self.losses:
            if name not in LOSSES:
                known = ", ".join(LOSSES)
                raise BadInput(f"{name!r} is no loss of distillation", where="losses", hint=f"known: {known}")
            kind: Any = LOSSES[name]
            own = inspect.signature(kind).parameters
            terms.append(kind(T=self.temperature) if "T" in own else kind())
        distiller = Distiller(
            teacher.eval(),
            work.module if student is None else student,
            terms,
            hard=self.hard,
            label_smoothing=self.label_smoothing,
            example=work.example,
        )
        return distiller, [distiller.adapters], distiller


def train(
    work: Work,
    module: Any,
    settings: Settings,
    *,
    loss: Any = None,
    extra: Sequence[Any] = (),
    callbacks: Sequence[Any] = (),
    optimiser: Callable[[Sequence[Any]], Any] | None = None,
) -> str:
    """Train in place, from the last checkpoint where the stage was interrupted; gives a line for the report."""
    history = fit(
        module,
        work.data.batches(settings.seed),
        settings,
        loss=loss,
        validation=work.data.validation,
        extra=extra,
        callbacks=callbacks,
        optimiser=optimiser,
        folder=work.folder / KEPT,
        shown=work.shown,
    )
    (work.folder / KEPT / "checkpoint.pt").unlink(missing_ok=True)
    seconds = sum(e.seconds for e in history.epochs)
    reached = "" if history.top1 is None else f", {history.top1:.2f} % of the validation pictures"
    return f"{settings.epochs} epoch{'s' * (settings.epochs > 1)} in {seconds:.0f} s{reached}"
