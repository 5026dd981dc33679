"""Pruning as one call: analyse, score, select, cut."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from torch import nn

from edgesmith.compress import counting
from edgesmith.compress.prune.compensation import compensate, rescale
from edgesmith.compress.prune.labels import Ints
from edgesmith.compress.prune.scoring import IMPORTANCE, Importance, Loss, Scores, Scoring, cross_entropy
from edgesmith.compress.prune.selection import Limits, Normalise, Scope, check_budget, select, select_by_ratio
from edgesmith.compress.prune.shape import PrunedShape
from edgesmith.compress.prune.structure import Structure, analyse
from edgesmith.compress.prune.surgery import cut
from edgesmith.errors import BadInput

__all__ = ["GroupInfo", "Pruned", "Size", "groups", "prune"]

Attention = Literal["heads", "head_dim"]
Compensation = Literal["none", "mean", "rescale"]
MAX_RATIO = 0.9


@dataclass(frozen=True, slots=True)
class Size:
    """Multiply-adds for the example, and parameters."""

    macs: int
    parameters: int


@dataclass(frozen=True, slots=True)
class GroupInfo:
    """A prunable group.

    Attributes:
        size: number of units, each of which may go.
        width: channels a unit.
        macs_share: fraction of the module's multiply-adds in layers that make or read these channels.
        layers: what makes the channels.
    """

    name: str
    size: int
    width: int
    macs_share: float
    layers: tuple[str, ...]


@dataclass(frozen=True)
class Pruned:
    """A pruned module.

    Attributes:
        module: smaller copy of the user's module; the original is as it was.
        groups: units that stay, by group name.
        before: size of the original.
        after: size of ``module``.
        untouched: layers that could not be pruned, and why.
        shape: the architecture as data, for ``apply_shape``.
    """

    module: nn.Module
    groups: Mapping[str, Ints]
    before: Size
    after: Size
    untouched: tuple[tuple[str, str], ...]
    shape: PrunedShape


def groups(module: nn.Module, example: Any) -> tuple[GroupInfo, ...]:
    """The groups of a module that can be pruned, in the order of the network.

    Raises:
        ModelError: the module's own ``forward`` cannot be traced.
        BadInput: the module does not run on ``example``.
    """
    structure = analyse(module, example)
    return tuple(
        GroupInfo(g.name, g.size, g.width, structure.share(i), g.layers) for i, g in enumerate(structure.groups)
    )


def prune(
    module: nn.Module,
    example: Any,
    *,
    macs: float | None = None,
    parameters: float | None = None,
    ratios: Mapping[str, float] | None = None,
    importance: str | Importance | None = None,
    data: Iterable[Any] | None = None,
    loss: Loss = cross_entropy,
    scope: Scope = "global",
    normalise: Normalise | None = None,
    cost_aware: float | None = None,
    round_to: int = 1,
    max_ratio: float | Mapping[str, float] | None = None,
    ignore: Sequence[str] = (),
    attention: Attention = "heads",
    compensation: Compensation = "none",
    seed: int = 0,
    structure: Structure | None = None,
) -> Pruned:
    """Remove the least important channels of a module.

    Exactly one kind of target is given: ``ratios``, or ``macs`` and/or ``parameters``.

    Args:
        example: one input, or a tuple of positional inputs.
        macs: fraction of multiply-adds that may be left, such as 0.5.
        parameters: fraction of parameters that may be left.
        ratios: part of the units that goes, by group name (``groups``); other groups stay whole, all if none is named.
        importance: a name from ``IMPORTANCE``, or a function from ``Scoring`` to one score a unit; by default
            ``"taylor"`` where there are data, ``"l2"`` where there are none.
        data: batches for criteria that need some; they are read once, or once for every call if it is a list.
        loss: for criteria that need gradients; cross-entropy of batches (inputs, class numbers) by default.
        scope: ``"global"`` compares scores across groups, ``"uniform"`` takes the same fraction of each.
        normalise: what scores of a group are divided by before they are compared; by default nothing for scores in
            units of the loss (Taylor, Hessian), else their mean.
        cost_aware: power of a unit's multiply-adds by which its score is divided, 0 to 1; by default 1 for scores in
            units of the loss, else 0.
        round_to: numbers of channels left are multiples of this; the budget is met nevertheless.
        max_ratio: the largest part of any group that may go; or of each group by its name, nothing of others; 0.9 by
            default, and no limit where ratios are given.
        ignore: regular expressions, or one, that names of layers contain whose channels all stay.
        attention: what attention loses: whole heads, or the same number of dimensions of every head.
        compensation: repairs from data without training: ``"mean"`` adds what removed channels gave on average to the
            next layer's bias, ``"rescale"`` also scales what stays by least squares of the next layer's outputs.
        seed: for what is random.
        structure: what ``analyse`` gave for this very module, to save time; ``attention`` is then what that was given.

    Raises:
        BadInput: the target is missing, double or cannot be met; data are missing or do not fit; an argument is none of
            those that there are, or names a group or layer that is none; scores are not one finite number a unit; or
            ``structure`` is another module's.
        ModelError: the module's own ``forward`` cannot be traced.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from edgesmith.compress.prune import prune
        >>> net = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(), nn.Conv2d(16, 4, 3))
        >>> result = prune(net, torch.zeros(1, 3, 16, 16), macs=0.5, round_to=4)
        >>> result.module[0].out_channels % 4, result.after.macs <= 0.5 * result.before.macs
        (0, True)
    """
    if (ratios is None) == (macs is None and parameters is None):
        raise BadInput("give either ratios, or macs and/or parameters", where="prune", hint="such as macs=0.5")
    for name, value, known in (
        ("scope", scope, get_args(Scope)),
        ("normalise", normalise or "none", get_args(Normalise)),
        ("attention", attention, get_args(Attention)),
        ("compensation", compensation, get_args(Compensation)),
    ):
        if value not in known:
            raise BadInput(f"no such {name}", where=f"{name}={value!r}", hint=f"known: {', '.join(known)}")
    if structure is not None and structure.module is not module:
        raise BadInput("structure is of another module", where="prune", hint="pass analyse(module, example)")
    if compensation != "none" and data is None:
        raise BadInput("needs data", where=f"compensation {compensation!r}", hint="pass data=, a list of batches")
    importance = importance or ("l2" if data is None else "taylor")
    structure = structure or analyse(module, example, attention)
    if max_ratio is None:
        max_ratio = MAX_RATIO if ratios is None else 1.0
    limits = Limits(round_to, max_ratio, ignore)
    if ratios is None:
        check_budget(structure, limits, macs=macs, parameters=parameters)
    else:
        limits.check(structure)
    scores = _scores(importance, Scoring(structure, data, loss, seed))
    in_loss = importance in ("taylor", "hessian")
    if ratios is not None:
        kept = select_by_ratio(structure, scores, ratios, limits)
    else:
        kept = select(
            structure,
            scores,
            macs=macs,
            parameters=parameters,
            scope=scope,
            normalise=normalise or ("none" if in_loss else "mean"),
            cost_aware=float(in_loss) if cost_aware is None else cost_aware,
            limits=limits,
        )
    pruned, shape = cut(structure, kept)
    if data is not None and compensation != "none":
        if compensation == "rescale":
            rescale(structure, kept, pruned, data, seed, centred=True)
        compensate(structure, kept, pruned, data)
    return Pruned(pruned, kept, _size(module, example), _size(pruned, example), structure.untouched, shape)


def _scores(importance: str | Importance, scoring: Scoring) -> Scores:
    where = f"importance {importance!r}"
    if isinstance(importance, str) and importance not in IMPORTANCE:
        raise BadInput("no such criterion", where=where, hint=f"known: {', '.join(IMPORTANCE)}")
    criterion = IMPORTANCE[importance] if isinstance(importance, str) else importance
    scores = np.asarray(criterion(scoring), dtype=np.float64)
    units = scoring.structure.units
    if scores.shape != (units,):
        raise BadInput(f"scores of shape {scores.shape}, not ({units},)", where=where, hint="give one number a unit")
    wrong = next((g.name for g in scoring.structure.groups if not np.isfinite(scores[g.units]).all()), "")
    if wrong:
        raise BadInput(f"scores of {wrong} are not finite", where=where, hint="look for NaN in weights, data and loss")
    return scores


def _size(module: nn.Module, example: Any) -> Size:
    return Size(counting.macs(module, example), counting.parameters(module))
