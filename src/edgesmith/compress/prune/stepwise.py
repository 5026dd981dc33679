"""Pruning in several cuts, with no training between them: scores and statistics follow what has gone already."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from torch import nn

from edgesmith.compress.batches import at_least_one
from edgesmith.compress.prune.compensation import recalibrate
from edgesmith.compress.prune.labels import Ints
from edgesmith.compress.prune.pruning import Pruned, prune
from edgesmith.compress.prune.selection import Limits, check_budget, counts_by_ratio
from edgesmith.compress.prune.structure import Structure, analyse
from edgesmith.errors import BadInput

__all__ = ["cuts", "stepwise"]


def stepwise(module: nn.Module, example: Any, *, data: Iterable[Any], steps: int = 8, **options: Any) -> Pruned:
    """Prune in cuts of equal ratio, as one call of ``prune`` does in one.

    A criterion knows what a unit is worth beside all others, not what it is worth when half of them are gone. So a
    little goes at a time; then the statistics of batch normalisation are measured anew, and scores too. That costs
    ``steps`` times the time of ``prune``, no training, and keeps far more of the accuracy before fine-tuning.

    Args, raises: as of ``cuts``.

    Returns:
        What the last cut left, relative to the original.
    """
    *_, last = cuts(module, example, data=data, steps=steps, **options)
    return last


def cuts(
    module: nn.Module,
    example: Any,
    *,
    data: Iterable[Any],
    macs: float | None = None,
    parameters: float | None = None,
    ratios: Mapping[str, float] | None = None,
    steps: int = 8,
    round_to: int = 1,
    max_ratio: float | Mapping[str, float] = 0.9,
    ignore: Sequence[str] = (),
    **options: Any,
) -> Iterator[Pruned]:
    """What each cut of ``stepwise`` left, relative to the original.

    Args:
        data: batches (inputs, labels); they are kept, because every cut reads them.
        macs, parameters: fractions that may be left in the end.
        ratios: instead, the part of the units that is gone in the end, by group name; other groups stay whole.
        steps: number of cuts.
        round_to: numbers of channels left are multiples of this; with ``ratios``, after the last cut.
        max_ratio: the largest part of any group that may go in all, where ratios are not given; or of each group by its
            name, nothing of others.
        ignore: as of ``prune``.
        options: for ``prune``: importance, scope, compensation, ...

    Raises:
        BadInput: no target or no steps; and whatever ``prune`` raises.
    """
    targets = {name: value for name, value in (("macs", macs), ("parameters", parameters)) if value is not None}
    if bool(targets) == (ratios is not None) or steps < 1:
        told = {**targets, **(ratios or {})} or "no target"
        raise BadInput(f"{steps} steps to {told}", where="stepwise", hint="such as macs=0.5, steps=8; or ratios={...}")
    batches = list(at_least_one(data, "stepwise"))
    attention = options.get("attention", "heads")
    structure = analyse(module, example, attention)
    limits = Limits(round_to, max_ratio if ratios is None else 1.0, ignore)
    if targets:
        check_budget(structure, limits, macs=macs, parameters=parameters)
    sizes = {group.name: group.size for group in structure.groups}
    final = None if ratios is None else counts_by_ratio(structure, ratios, limits)
    done: Pruned | None = None
    for step in range(1, steps + 1):
        structure = structure if done is None else analyse(module, example, attention)
        own: dict[str, Any]
        if final is not None:
            own = {"ratios": _ratios(structure, sizes, final, step / steps), "max_ratio": 1.0}
        else:
            own = {n: _left(done, n, value ** (step / steps)) for n, value in targets.items()}
            own |= {"max_ratio": limits.of_the_rest(structure, sizes), "round_to": round_to}
        now = prune(module, example, data=batches, structure=structure, **own, **options)
        module = now.module
        recalibrate(module, batches)
        done = now if done is None else _joined(done, now)
        yield done


def _left(done: Pruned | None, kind: str, share: float) -> float:
    """The fraction of what is there that makes ``share`` of what was there at first."""
    if done is None:
        return share
    return min(1.0, share * float(getattr(done.before, kind)) / float(getattr(done.after, kind)))


def _ratios(structure: Structure, sizes: Mapping[str, int], final: Mapping[str, int], way: float) -> dict[str, float]:
    """The part of what is left that goes next, for groups on their ``way`` (0 to 1) to their numbers in the end.

    Groups of a single unit are none any more.
    """
    left = [group for group in structure.groups if group.name in final]
    return {g.name: max(0.0, 1 - sizes[g.name] ** (1 - way) * final[g.name] ** way / g.size) for g in left}


def _joined(first: Pruned, then: Pruned) -> Pruned:
    """Both cuts as one, relative to the first's original."""
    kept: dict[str, Ints] = {}
    for name, units in first.groups.items():
        again = then.groups.get(name)
        kept[name] = units if again is None else np.asarray(units)[np.asarray(again)]
    new = {name: units for name, units in then.groups.items() if name not in kept}
    return replace(first, module=then.module, groups=kept | new, after=then.after, shape=first.shape.then(then.shape))
