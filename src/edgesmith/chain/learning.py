"""Training as part of stages: the keys that all of them share, and how they become a run."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from edgesmith.chain.models import digest
from edgesmith.chain.recipe import ZOO, ModelSpec, model_spec
from edgesmith.chain.schema import unknown
from edgesmith.chain.stage import Stage
from edgesmith.chain.work import Work
from edgesmith.compress.training import Settings, fit
from edgesmith.errors import BadInput

__all__ = ["KEPT", "Learning", "Taught", "train"]

KEPT = "training"
"""Folder of a training's log and, until the stage is finished, of its checkpoint."""


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
        losses: names of ``compress.distill.LOSSES``, of those that compare outputs.
        temperature: of the losses that have one.
        hard: weight of the labels' own loss (default: the losses' own advice).
    """

    teacher: int | str = ""
    losses: tuple[str, ...] = ("soft-logits",)
    temperature: float = 4.0
    hard: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hard is not None and not self.hard >= 0:
            raise BadInput(f"{self.hard} must not be below 0", where="hard")
        self._terms()

    @property
    def models(self) -> tuple[ModelSpec, ...]:
        return (model_spec(self.teacher),) if isinstance(self.teacher, str) and self.teacher else ()

    def depends(self, path: Callable[[str], Path]) -> list[str]:
        return [digest(spec, path) for spec in self.models]

    def check(self, index: int, before: tuple[Stage, ...], where: str) -> None:
        if isinstance(self.teacher, int) and not 0 <= self.teacher <= index:
            raise BadInput(f"teacher {self.teacher} is no stage before this one", where=where, hint=f"0 to {index}")
        for spec in self.models:
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
        from edgesmith.compress.distill import Distiller

        given = self.teacher
        teacher = work.after(given).load() if isinstance(given, int) else work.build(model_spec(given))
        distiller = Distiller(
            teacher.eval(),
            work.module if student is None else student,
            self._terms(),
            hard=self.hard,
            label_smoothing=self.label_smoothing,
            example=work.example,
        )
        return distiller, [distiller.adapters], distiller

    def _terms(self) -> list[Any]:
        """The losses, each anew."""
        from edgesmith.compress.distill import LOSSES

        kinds: dict[str, Any] = {n: k for n, k in LOSSES.items() if all(p.default is not p.empty for p in _options(k))}
        if not self.losses:
            raise BadInput("there is none", where="losses", hint=f"known: {', '.join(kinds)}")
        for name in self.losses:
            if name in LOSSES and name not in kinds:
                hint = f"known without: {', '.join(kinds)}; others are for a loop of one's own, docs/compression.md"
                raise BadInput(f"{name!r} needs layers or data that a recipe does not name", where="losses", hint=hint)
            if name not in kinds:
                raise unknown(name, kinds, "losses", "loss of distillation")
        chosen = [kinds[name] for name in self.losses]
        return [k(T=self.temperature) if any(p.name == "T" for p in _options(k)) else k() for k in chosen]


def _options(kind: Any) -> list[inspect.Parameter]:
    return list(inspect.signature(kind).parameters.values())


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
        device=work.device,
    )
    module.cpu()
    seconds = sum(e.seconds for e in history.epochs)
    reached = "" if history.top1 is None else f", {history.top1:.2f} % of the validation pictures"
    return f"{settings.epochs} epoch{'s' * (settings.epochs > 1)} in {seconds:.0f} s{reached}"
