"""Pruning in several cuts without training between them: what is left is measured and scored anew before each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from torch import nn

from edgesmith.compress.prune.compensation import recalibrate
from edgesmith.compress.prune.labels import Ints
from edgesmith.compress.prune.pruning import Pruned, prune
from edgesmith.compress.prune.structure import analyse
from edgesmith.errors import BadInput

__all__ = ["stepwise"]


def stepwise(
    module: nn.Module,
    example: Any,
    *,
    data: Iterable[Any],
    macs: float | None = None,
    parameters: float | None = None,
    steps: int = 8,
    round_to: int = 1,
    max_ratio: float = 0.9,
    **options: Any,
) -> Pruned:
    """Prune in cuts of equal ratio, as one call of ``prune`` does in one.

    A criterion knows what a unit is worth beside all others, not what it is worth when half of them are gone. So a
    little goes at a time; then the statistics of batch normalisation are measured anew, and scores too. That costs
    ``steps`` times the time of ``prune``, no training, and keeps far more of the accuracy before fine-tuning.

    Args:
        data: batches (inputs, labels); they are kept, because every cut reads them.
        macs, parameters: fractions that may be left in the end.
        steps: number of cuts.
        round_to: numbers of channels left are multiples of this.
        max_ratio: the largest part of any group that may go in all.
        options: for ``prune``: importance, scope, ignore, ...

    Raises:
        BadInput: no target or no steps; and whatever ``prune`` raises.
    """
    targets = {name: value for name, value in (("macs", macs), ("parameters", parameters)) if value is not None}
    if not targets or steps < 1:
        raise BadInput(f"{steps} steps to {targets or 'no target'}", where="stepwise", hint="such as macs=0.5, steps=8")
    batches = list(data)
    structure = analyse(module, example, options.get("attention", "heads"))
    sizes = left_of = {group.name: group.size for group in structure.groups}
    done: Pruned | None = None
    for step in range(1, steps + 1):
        left: dict[str, Any] = {n: _left(done, n, value ** (step / steps)) for n, value in targets.items()}
        limits = {name: 1 - (1 - max_ratio) * size / left_of[name] for name, size in sizes.items() if name in left_of}
        now = prune(module, example, data=batches, round_to=round_to, max_ratio=limits, **left, **options)
        module = now.module
        recalibrate(module, batches)
        done = now if done is None else _joined(done, now)
        left_of = {name: len(units) for name, units in now.groups.items()}
    assert done is not None
    return done


def _left(done: Pruned | None, kind: str, share: float) -> float:
    """The fraction of what is there that makes ``share`` of what was there at first."""
    if done is None:
        return share
    return min(1.0, share * float(getattr(done.before, kind)) / float(getattr(done.after, kind)))


def _joined(first: Pruned, then: Pruned) -> Pruned:
    """Both cuts as one, relative to the first's original."""
    kept: dict[str, Ints] = {}
    for name, units in first.groups.items():
        again = then.groups.get(name)
        kept[name] = units if again is None else np.asarray(units)[np.asarray(again)]
    new = {name: units for name, units in then.groups.items() if name not in kept}
    return replace(first, module=then.module, groups=kept | new, after=then.after, shape=first.shape.then(then.shape))
