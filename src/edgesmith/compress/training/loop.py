"""A training loop that loses less than a minute when it is killed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from edgesmith.compress.training.batches import Data
from edgesmith.compress.training.callbacks import BatchLoss, Callback, Loss, RunState, cross_entropy
from edgesmith.compress.training.checkpoint import Checkpoints
from edgesmith.compress.training.ema import Ema
from edgesmith.compress.training.engine import Engine, LocalEngine
from edgesmith.compress.training.evaluate import device_of, modes_kept
from edgesmith.compress.training.history import History
from edgesmith.compress.training.log import Logs
from edgesmith.compress.training.optimisers import build_optimiser
from edgesmith.compress.training.run import Run
from edgesmith.compress.training.seeds import generators_kept, seed_everything
from edgesmith.compress.training.settings import Settings
from edgesmith.errors import BadInput
from edgesmith.interruption import Interruption

if TYPE_CHECKING:
    from lightning_fabric import Fabric  # type: ignore[import-not-found, unused-ignore]

__all__ = ["fit"]


def fit(
    module: nn.Module,
    data: Data,
    settings: Settings | None = None,
    *,
    loss: Loss | BatchLoss | None = None,
    validation: Data | None = None,
    extra: Sequence[nn.Module] = (),
    callbacks: Sequence[Callback] = (),
    optimiser: Callable[[Sequence[nn.Module]], torch.optim.Optimizer] | None = None,
    folder: Path | None = None,
    save_every: float = 45.0,
    resume: bool = True,
    tensorboard: bool = False,
    shown: bool = True,
    device: torch.device | str | None = None,
    fabric: Fabric | None = None,
) -> History:
    """Train a module in place.

    ::

        train = Batches(read_idx(images, labels), 128, augment=(Shift(2), Flip()))
        history = fit(module, train, Settings(epochs=10), validation=train.evaluation(held_out), folder=Path("run"))

    With a folder, a run that was killed goes on when ``fit`` is called again with the same arguments, and on one thread
    of a CPU ends with the same bits. Ctrl-C leaves a checkpoint too. The module's modes and all random generators are
    afterwards as they were.

    Args:
        module: any module whose first output is (N, classes), or whatever ``loss`` knows to call.
        data: such as ``Batches``.
        settings: hyper-parameters; None: the defaults.
        loss: called as ``loss(module, inputs, labels)``; None: cross entropy. See ``callbacks.BatchLoss`` too.
        validation: evaluated after each epoch, such as ``data.evaluation(held_out)``.
        extra: modules that ``loss`` uses and that are trained as well, such as a distiller's regressors.
        callbacks: called in this order.
        optimiser: makes another optimiser for ``[module, *extra]``; its rates are peak rates of the schedule.
        folder: for ``checkpoint.pt`` and ``log.jsonl`` (a line an epoch); None: neither.
        save_every: seconds between checkpoints.
        resume: False: a checkpoint in the folder is ignored and replaced.
        tensorboard: also write event files to ``folder/tensorboard``.
        shown: progress on standard error: a bar, or one line an epoch where that is no terminal.
        device: None: where the module is.
        fabric: an engine for several processes, launched; it then decides device and precision.

    Raises:
        BadInput: the checkpoint is another run's, or an argument does not fit.
        TrainingDiverged: the loss became infinite or NaN; the last checkpoint is from before.
        MissingDependency: TensorBoard is asked for and not installed.
        KeyboardInterrupt: Ctrl-C, after the checkpoint was written.
    """
    settings = settings or Settings()
    if tensorboard and folder is None:
        raise BadInput("TensorBoard's files need a folder", where="training: tensorboard")
    engine = _engine(module, settings, device, fabric)
    for part in (module, *extra):
        part.to(engine.device)
        if settings.channels_last:
            part.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    with modes_kept(module), generators_kept(), Interruption() as interruption:
        seed_everything(settings.seed + engine.rank, settings.deterministic)
        module.train()
        made = optimiser([module, *extra]) if optimiser else build_optimiser([module, *extra], settings)
        for group in made.param_groups:
            group.setdefault("initial_lr", group["lr"])
        called, stepped = engine.prepare(module, made, extra)
        run = Run(
            called=called,
            data=data,
            loss=loss or cross_entropy(settings.label_smoothing),
            extra=extra,
            callbacks=callbacks,
            engine=engine,
            stepped=stepped,
            interruption=interruption,
            checkpoints=Checkpoints(folder, save_every) if folder else None,
            ema=Ema(module, settings.ema) if settings.ema else None,
            now=RunState(module, made, settings, settings.epochs * -(-data.count(engine.world) // settings.accumulate)),
        )
        if resume:
            run.restore()
        first = engine.rank == 0
        with Logs(folder if first else None, run.now, run.history, tensorboard, shown and first) as logs:
            run.train(validation, logs)
        if run.ema:
            run.ema.copy_to(module)
        engine.equalise(module)
    return run.history


def _engine(module: nn.Module, settings: Settings, device: torch.device | str | None, fabric: Fabric | None) -> Engine:
    if fabric is None:
        return LocalEngine(torch.device(device) if device is not None else device_of(module), settings.amp)
    if settings.amp or device is not None:
        raise BadInput("Fabric decides device and precision", where="training", hint="Fabric(precision='bf16-mixed')")
    from edgesmith.compress.training.distributed import FabricEngine

    return FabricEngine(fabric)
