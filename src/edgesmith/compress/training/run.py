"""The state of a training run and what a step does to it."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from edgesmith.compress.training.batches import Batch, Data
from edgesmith.compress.training.callbacks import BatchLoss, Callback, Loss, RunState
from edgesmith.compress.training.checkpoint import Checkpoints
from edgesmith.compress.training.ema import Ema
from edgesmith.compress.training.engine import Engine
from edgesmith.compress.training.evaluate import evaluate, placed
from edgesmith.compress.training.history import Epoch, History
from edgesmith.compress.training.log import Logs
from edgesmith.compress.training.seeds import random_state, restore_random_state
from edgesmith.errors import BadInput, TrainingDiverged
from edgesmith.interruption import Interruption

__all__ = ["Run"]

SECONDS_BETWEEN_AGREEMENTS = 2.0
_STEPS_BETWEEN_CHECKS = 20


@dataclass
class Run:
    """The state of a run: what a checkpoint holds, and how a step changes it.

    Attributes:
        called: what losses call: the user's module, or the engine's wrapper of it.
        stepped: the engine's wrapper of the optimiser.
        now: the rest of what callbacks see.
        batch: batches of the current epoch that are done.
        seconds: of the current epoch.
        total: sum of the current epoch's losses.
        next_question: the step after which the processes next agree on saving and stopping.
    """

    called: nn.Module
    data: Data
    loss: Loss | BatchLoss
    extra: Sequence[nn.Module]
    callbacks: Sequence[Callback]
    engine: Engine
    stepped: torch.optim.Optimizer
    interruption: Interruption
    checkpoints: Checkpoints | None
    ema: Ema | None
    now: RunState
    history: History = field(default_factory=History)
    batch: int = 0
    seconds: float = 0.0
    total: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.float64))
    next_question: int = 0
    validation_seconds: float = math.inf
    """What the last validation took; before the first one it may take any time."""

    def train(self, validation: Data | None, logs: Logs) -> None:
        self.total = self.total.to(self.engine.device)
        for callback in self.callbacks:
            callback.on_start(self.now)
        while self.now.epoch < self.now.settings.epochs:
            self._epoch(logs)
            for callback in self.callbacks:
                callback.on_epoch(self.now)
            done = self._finished(validation)
            self.history.epochs.append(done)
            logs.epoch(done)
            self.now.epoch, self.batch, self.seconds = self.now.epoch + 1, 0, 0.0
            self.total.zero_()
            self.now.log.clear()
            if self.engine.agree(int(self._due())):
                self._save()
        self._save()
        if self.engine.agree(int(self.interruption.wanted)):  # since the last step, such as in its validation
            raise KeyboardInterrupt

    def _epoch(self, logs: Logs) -> None:
        """The rest of the current epoch."""
        engine, now, settings = self.engine, self.now, self.now.settings
        count = self.data.count(engine.world)
        started = time.monotonic()
        for batch in self.data.batches(now.epoch, self.batch, engine.rank, engine.world):
            self.batch += 1
            complete = self.batch % settings.accumulate == 0 or self.batch == count
            together = min(settings.accumulate, count - (self.batch - 1) // settings.accumulate * settings.accumulate)
            with engine.accumulating(self.called, complete):
                self._gradients(batch, together)
            if complete:
                self._step()
                logs.terminal.step(now.step)
                moment = time.monotonic()
                self.seconds, started = self.seconds + moment - started, moment
                self._tend(self.batch == count)

    def _gradients(self, batch: Batch, together: int) -> None:
        engine, settings = self.engine, self.now.settings
        inputs = placed(batch.inputs, engine.device, settings.channels_last)
        labels = batch.labels.to(engine.device, non_blocking=True)
        with engine.autocast():
            if isinstance(self.loss, BatchLoss):
                value = self.loss.of_batch(self.called, Batch(inputs, labels, batch.indices))
            else:
                value = self.loss(self.called, inputs, labels)
        self.total += value.detach()
        if engine.device.type == "cpu" or self.now.step % _STEPS_BETWEEN_CHECKS == 0:
            self._check()
        engine.backward(value / together)

    def _check(self) -> None:
        if not math.isfinite(float(self.total)):
            kept = f"; the last checkpoint, {self.checkpoints.path}, is from before" if self.checkpoints else ""
            raise TrainingDiverged(
                f"the loss is not finite at step {self.now.step + 1} of {self.now.steps}",
                where=f"training, epoch {self.now.epoch + 1}",
                hint=f"try a lower lr, clip=1.0, a longer warm-up, or bf16 in place of fp16{kept}",
            )

    def _step(self) -> None:
        engine, now = self.engine, self.now
        share = now.settings.rate()((now.step + 0.5) / now.steps)
        for group in self.now.optimiser.param_groups:
            group["lr"] = group["initial_lr"] * share
        engine.unscale(now.optimiser)
        for callback in self.callbacks:
            callback.on_gradients(now)
        if now.settings.clip is not None:
            trained = [p for group in self.now.optimiser.param_groups for p in group["params"]]
            nn.utils.clip_grad_norm_(trained, now.settings.clip)
        engine.step(self.stepped)
        self.now.optimiser.zero_grad(set_to_none=True)
        now.step += 1
        if self.ema:
            self.ema.update(now.module)
        for callback in self.callbacks:
            callback.on_step(now)

    def _finished(self, validation: Data | None) -> Epoch:
        self._check()
        top1 = None
        began = time.monotonic()
        if validation is not None:
            swapped: AbstractContextManager[None] = self.ema.swapped(self.now.module) if self.ema else nullcontext()
            with swapped, self.engine.autocast():
                mine = evaluate(self.now.module, validation) if self.engine.rank == 0 else 0.0
            top1 = float(self.engine.gathered(mine)[0])
        self.validation_seconds = time.monotonic() - began
        mean = float(self.engine.mean(self.total)) / self.data.count(self.engine.world)
        rate = float(self.now.optimiser.param_groups[0]["lr"])
        return Epoch(self.now.epoch, self.now.step, mean, rate, self.seconds, top1, dict(self.now.log))

    def _tend(self, last: bool) -> None:
        """Save when it is time, and stop when that is wanted; all processes at the same step."""
        if self.now.step < self.next_question and not last:
            return
        due = self._due(self.validation_seconds if last else 0.0)
        pause = 1
        if self.engine.world > 1:
            per_step = self.seconds / max(-(-self.batch // self.now.settings.accumulate), 1)
            pause = max(1, min(1000, int(SECONDS_BETWEEN_AGREEMENTS / max(per_step, 1e-6))))
        pause, wanted = divmod(self.engine.agree(4 * pause + 2 * self.interruption.wanted + due), 4)
        self.next_question = self.now.step + pause
        if wanted:
            self._save()
        if wanted & 2:
            raise KeyboardInterrupt

    def _due(self, seconds: float = 0.0) -> bool:
        """Whether a checkpoint would be overdue so many seconds from now."""
        return self.checkpoints is not None and self.checkpoints.seconds_left() <= seconds

    def _described(self) -> dict[str, Any]:
        """What two runs must share for one to go on with the other's checkpoint."""
        world = self.engine.world
        return {
            **self.now.settings.to_json(),
            "batches": self.data.count(world),
            "processes": world,
            "callbacks": [type(callback).__name__ for callback in self.callbacks],
            "extra modules": len(self.extra),
            "weights": {k: list(v.shape) for k, v in self.now.module.state_dict().items() if isinstance(v, Tensor)},
        }

    def _save(self) -> None:
        if self.checkpoints is None:
            return
        self._check()
        of_processes = self.engine.gathered({"total": float(self.total), "generators": random_state()})
        if self.engine.rank:
            return
        self.checkpoints.save(
            {
                "run": self._described(),
                "epoch": self.now.epoch,
                "batch": self.batch,
                "step": self.now.step,
                "seconds": self.seconds,
                "log": dict(self.now.log),
                "history": [done.to_json() for done in self.history.epochs],
                "module": self.now.module.state_dict(),
                "extra": [part.state_dict() for part in self.extra],
                "optimiser": self.now.optimiser.state_dict(),
                "engine": self.engine.state_dict(),
                "ema": self.ema.state_dict() if self.ema else None,
                "callbacks": [callback.state_dict() for callback in self.callbacks],
                "processes": of_processes,
            }
        )

    def restore(self) -> None:
        """Go on from the checkpoint, where there is one."""
        state = self.checkpoints.load(torch.device("cpu")) if self.checkpoints else None
        if state is None or self.checkpoints is None:
            return
        if state["run"] != self._described():
            before, present = state["run"], self._described()
            name = next(k for k in present if before.get(k) != present[k])
            told = "other weights" if name == "weights" else f"{name}={before.get(name)}, this one has {present[name]}"
            raise BadInput(
                f"it is of a run with {told}",
                where=str(self.checkpoints.path),
                hint="take another folder, or resume=False to begin anew",
            )
        self.now.epoch, self.batch, self.now.step = state["epoch"], state["batch"], state["step"]
        own = state["processes"][self.engine.rank]
        self.seconds = state["seconds"]
        self.total.fill_(own["total"])
        self.now.log.update(state["log"])
        self.history.epochs = [Epoch(**done) for done in state["history"]]
        self.now.module.load_state_dict(state["module"])
        for part, saved in zip(self.extra, state["extra"], strict=True):
            part.load_state_dict(saved)
        self.now.optimiser.load_state_dict(state["optimiser"])
        self.engine.load_state_dict(state["engine"])
        if self.ema and state["ema"]:
            self.ema.load_state_dict(state["ema"])
        for callback, saved in zip(self.callbacks, state["callbacks"], strict=True):
            callback.load_state_dict(saved)
        restore_random_state(own["generators"])
