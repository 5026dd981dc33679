"""What decides a training run, as data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from edgesmith.compress.training.schedules import SCHEDULES, Schedule
from edgesmith.errors import BadInput

__all__ = ["AMP", "OPTIMISERS", "Settings"]

OPTIMISERS = ("sgd", "adamw")
AMP = (None, "bf16", "fp16")


@dataclass(frozen=True)
class Settings:
    """Hyper-parameters of ``fit``.

    The defaults train small convolutional networks from scratch. For fine-tuning after pruning, factorisation or fake
    quantisation take a tenth of the rate (``lr=0.005``) and ``schedule="cosine"``.

    Args:
        epochs: passes over the data.
        optimiser: ``sgd`` (Nesterov) or ``adamw``.
        lr: peak learning rate; some 0.05 for ``sgd`` with batches of 128, 0.001 to 0.003 for ``adamw``.
        momentum: of ``sgd``; the first beta of ``adamw``.
        weight_decay: on weights of two or more dimensions, so not on biases and normalisations.
        schedule: ``one_cycle``, ``cosine`` or ``constant``.
        warmup: share of all steps during which the rate rises; None: the schedule's own.
        label_smoothing: share of the target that is spread over all classes; only of the default loss.
        clip: greatest norm of all gradients together; None: no limit.
        amp: ``bf16`` or ``fp16`` for mixed precision; None: float32.
        accumulate: batches whose mean gradient makes one step.
        ema: decay of the weights' moving average, which then becomes the result; None: the last weights.
        channels_last: memory format of weights and inputs of 4 dimensions.
        seed: of Python, NumPy and PyTorch.
        deterministic: operators that are not repeatable are errors.

    Raises:
        BadInput: a value is out of its range.
    """

    epochs: int = 10
    optimiser: str = "sgd"
    lr: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: str = "one_cycle"
    warmup: float | None = None
    label_smoothing: float = 0.0
    clip: float | None = None
    amp: str | None = None
    accumulate: int = 1
    ema: float | None = None
    channels_last: bool = True
    seed: int = 0
    deterministic: bool = False

    def __post_init__(self) -> None:
        for holds, where, why in (
            (self.epochs >= 1, "epochs", "must be 1 or more"),
            (self.optimiser in OPTIMISERS, "optimiser", f"is none of {', '.join(OPTIMISERS)}"),
            (self.lr > 0, "lr", "must be above 0"),
            (0 <= self.momentum < 1, "momentum", "must be from 0 to below 1"),
            (self.weight_decay >= 0, "weight_decay", "must not be below 0"),
            (self.schedule in SCHEDULES, "schedule", f"is none of {', '.join(SCHEDULES)}"),
            (self.warmup is None or 0 <= self.warmup < 1, "warmup", "must be from 0 to below 1"),
            (0 <= self.label_smoothing < 1, "label_smoothing", "must be from 0 to below 1"),
            (self.clip is None or self.clip > 0, "clip", "must be above 0"),
            (self.amp in AMP, "amp", "is none of bf16, fp16, None"),
            (self.accumulate >= 1, "accumulate", "must be 1 or more"),
            (self.ema is None or 0 < self.ema < 1, "ema", "must be between 0 and 1"),
        ):
            if not holds:
                raise BadInput(f"{getattr(self, where)!r} {why}", where=f"training: {where}")

    def rate(self) -> Schedule:
        """The schedule as a function."""
        make = SCHEDULES[self.schedule]
        return make() if self.warmup is None else make(self.warmup)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
