"""What a training run reached."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["Epoch", "History"]


@dataclass(frozen=True)
class Epoch:
    """Figures of one epoch.

    Attributes:
        epoch: from 0.
        step: optimiser steps since the start.
        loss: mean over the epoch's batches.
        lr: learning rate of the last step.
        seconds: wall time, summed over interruptions.
        top1: percent of the validation set, with averaged weights where there are; None without one.
        values: what callbacks logged.
    """

    epoch: int
    step: int
    loss: float
    lr: float
    seconds: float
    top1: float | None = None
    values: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def line(self, epochs: int) -> str:
        """For the terminal."""
        top1 = "" if self.top1 is None else f", top-1 {self.top1:.2f} %"
        return f"epoch {self.epoch + 1}/{epochs}: loss {self.loss:.4f}{top1} ({self.seconds:.1f} s)"


@dataclass
class History:
    """All finished epochs of a run, those before an interruption included."""

    epochs: list[Epoch] = field(default_factory=list)

    @property
    def top1(self) -> float | None:
        """Percent of the validation set at the end."""
        return self.epochs[-1].top1 if self.epochs else None
