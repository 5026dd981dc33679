"""Self-distillation from the average of one's own weights (mean teacher, Tarvainen and Valpola, arXiv:1703.01780)."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn

from edgesmith.compress.training.callbacks import Callback, RunState
from edgesmith.compress.training.ema import Ema

__all__ = ["MovingTeacher"]


class MovingTeacher(Callback):
    """A teacher that is the average of the student's weights so far.

    ::

        moving = MovingTeacher(student)
        kd = Distiller(moving.module, student, [SoftLogits(T=1, weight=0.5)], hard=0.5)
        fit(student, data, settings, loss=kd, callbacks=[moving])

    In a loop of one's own call ``update(student)`` after each step. It knows little in the beginning: keep the labels'
    weight high, and the temperature low.

    Args:
        student: copied; attach distillers after this.
        decay: of the average; the past of some ``1 / (1 - decay)`` steps counts.
    """

    def __init__(self, student: nn.Module, decay: float = 0.999) -> None:
        self.module = copy.deepcopy(student).eval().requires_grad_(False)
        self._ema = Ema(student, decay)

    def update(self, student: nn.Module) -> None:
        """Take the student's present weights in."""
        self._ema.update(student)
        self._ema.copy_to(self.module)

    def on_step(self, run: RunState) -> None:
        self.update(run.module)

    def state_dict(self) -> dict[str, Any]:
        return self._ema.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._ema.load_state_dict(state)
        self._ema.copy_to(self.module)
