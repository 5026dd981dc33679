"""How methods take part in a training loop: losses, and callbacks after gradients, steps and epochs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgesmith.compress.training.batches import Batch
from edgesmith.compress.training.evaluate import logits_of
from edgesmith.compress.training.settings import Settings

__all__ = ["BatchLoss", "Callback", "Loss", "RunState", "cross_entropy"]

Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""Calls the module on inputs (N, ...) with labels (N,) and gives the mean loss of the batch, a scalar."""


@runtime_checkable
class BatchLoss(Protocol):
    """A loss that also wants to know which examples a batch holds; ``of_batch`` is then called instead."""

    def of_batch(self, module: nn.Module, batch: Batch) -> Tensor: ...


@dataclass
class RunState:
    """Where a run is.

    Attributes:
        module: the user's module, with the current weights.
        optimiser: may be changed by callbacks.
        settings: of the run.
        steps: optimiser steps of the whole run.
        step: of them, finished.
        epoch: the current one, from 0.
        log: values that callbacks add to the next line of the log.
    """

    module: nn.Module
    optimiser: torch.optim.Optimizer
    settings: Settings
    steps: int
    step: int = 0
    epoch: int = 0
    log: dict[str, float] = field(default_factory=dict)


class Callback:
    """Does nothing; methods override what they need.

    ``state_dict`` and ``load_state_dict`` make a callback part of checkpoints.
    """

    def on_start(self, run: RunState) -> None:
        """Before the first step, also of a resumed run."""

    def on_gradients(self, run: RunState) -> None:
        """Gradients are complete, parameters not yet changed."""

    def on_step(self, run: RunState) -> None:
        """Parameters were changed."""

    def on_epoch(self, run: RunState) -> None:
        """An epoch is over; before the validation."""

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


def cross_entropy(label_smoothing: float = 0.0) -> Loss:
    """The default loss of ``fit``."""

    def loss(module: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
        return functional.cross_entropy(logits_of(module(inputs)), labels, label_smoothing=label_smoothing)

    return loss
