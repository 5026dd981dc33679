"""Learning rates as functions of how much of the training is done (0 to 1), as a share of the peak rate."""

from __future__ import annotations

import math
from collections.abc import Callable

__all__ = ["SCHEDULES", "Schedule", "constant", "cosine", "one_cycle"]

Schedule = Callable[[float], float]
"""Share of the peak learning rate at a point from 0 (start) to 1 (end) of the training."""

_START, _END = 1 / 25, 1 / 250_000


def one_cycle(warmup: float = 0.3) -> Schedule:
    """Up from 1/25 along a cosine, then down to almost nothing (arXiv:1708.07120; momentum is constant)."""

    def share(done: float) -> float:
        if done < warmup:
            return _cosine(_START, 1.0, done / warmup)
        return _cosine(1.0, _END, (done - warmup) / (1 - warmup))

    return share


def cosine(warmup: float = 0.05) -> Schedule:
    """Linear warm-up, then down to zero along a cosine (Loshchilov and Hutter, arXiv:1608.03983, without restarts)."""

    def share(done: float) -> float:
        return done / warmup if done < warmup else _cosine(1.0, 0.0, (done - warmup) / (1 - warmup))

    return share


def constant(warmup: float = 0.0) -> Schedule:
    """The peak rate, after a linear warm-up."""
    return lambda done: done / warmup if done < warmup else 1.0


def _cosine(start: float, end: float, done: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * min(done, 1.0))) / 2


SCHEDULES: dict[str, Callable[..., Schedule]] = {"one_cycle": one_cycle, "cosine": cosine, "constant": constant}
