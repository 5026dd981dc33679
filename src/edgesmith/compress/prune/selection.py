"""Which units stay: by score, under a budget, in numbers that suit the target."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Literal

import numpy as np
import numpy.typing as npt

from edgesmith.compress.prune.labels import Ints
from edgesmith.compress.prune.scoring import Scores
from edgesmith.compress.prune.structure import Group, Structure
from edgesmith.errors import BadInput

__all__ = ["Limits", "Normalise", "Scope", "check_budget", "counts_by_ratio", "select", "select_by_ratio"]

Scope = Literal["global", "uniform"]
Normalise = Literal["none", "mean", "max", "norm"]
_Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Limits:
    """What must stay.

    Attributes:
        round_to: numbers of channels left are multiples of this, where a group has that many.
        max_ratio: the largest part of a group that may go; or of each group by its name, nothing of others.
        ignore: regular expressions, or one; groups with a layer whose name contains one stay whole.

    Raises:
        BadInput: ``round_to`` is no whole number from 1 on, a ratio is outside [0, 1], or a pattern is none.
    """

    round_to: int = 1
    max_ratio: float | Mapping[str, float] = 0.9
    ignore: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.round_to, Integral) or self.round_to < 1:
            why = f"round_to={self.round_to} is no whole number from 1 on"
            raise BadInput(why, where="prune", hint="1 permits any number")
        given = self.max_ratio.values() if isinstance(self.max_ratio, Mapping) else (self.max_ratio,)
        if not all(0 <= ratio <= 1 for ratio in given):
            raise BadInput(f"max_ratio={self.max_ratio} is outside [0, 1]", where="prune", hint="such as max_ratio=0.9")
        for pattern in self._patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                why, hint = f"no regular expression: {error}", "escape what is meant literally, as re.escape does"
                raise BadInput(why, where=f"ignore={pattern!r}", hint=hint) from error

    def check(self, structure: Structure) -> None:
        """
        Raises:
            BadInput: a group that is named, or a layer that is ignored, is none of the module's.
        """
        if isinstance(self.max_ratio, Mapping):
            structure.named(self.max_ratio)
        names = dict.fromkeys(name for name, _ in structure.module.named_modules() if name)
        names |= dict.fromkeys(layer for group in structure.groups for layer in (group.name, *group.layers))
        for pattern in self._patterns:
            if not any(re.search(pattern, name) for name in names):
                hint = f"the first of them: {', '.join([*names][:8])}"
                raise BadInput("no layer has such a name", where=f"ignore={pattern!r}", hint=hint)

    def ignores(self, group: Group) -> bool:
        """Whether a group must stay whole."""
        return any(re.search(pattern, layer) for pattern in self._patterns for layer in (group.name, *group.layers))

    def most(self, group: Group) -> float:
        """The largest part of a group that may go."""
        if self.ignores(group):
            return 0.0
        return self.max_ratio.get(group.name, 0.0) if isinstance(self.max_ratio, Mapping) else self.max_ratio

    def of_the_rest(self, structure: Structure, sizes: Mapping[str, int]) -> dict[str, float]:
        """The largest parts of what earlier cuts left that may go, so that no more does in all.

        Args:
            structure: of what is left.
            sizes: units that groups had at first, by name.
        """
        left = [group for group in structure.groups if group.name in sizes]
        return {g.name: max(0.0, 1 - (1 - self.most(g)) * sizes[g.name] / g.size) for g in left}

    @property
    def _patterns(self) -> Sequence[str]:
        return (self.ignore,) if isinstance(self.ignore, str) else self.ignore

    def step(self, group: Group) -> int:
        """Units by which a group shrinks."""
        return self.round_to // math.gcd(self.round_to, group.width)

    def counts(self, group: Group) -> list[int]:
        """Numbers of units that may be left, ascending; the last is all of them."""
        step = self.step(group)
        least = max(1, math.ceil(round((1 - self.most(group)) * group.size, 9)))
        return sorted({*(n for n in range(step, group.size + 1, step) if n >= least), group.size})

    def nearest(self, group: Group, wanted: float) -> int:
        """The allowed number of units that is nearest to ``wanted``."""
        return min(self.counts(group), key=lambda n: (abs(n - wanted), n))


def check_budget(
    structure: Structure, limits: Limits, *, macs: float | None = None, parameters: float | None = None
) -> None:
    """
    Raises:
        BadInput: the budget is no fraction or cannot be met within the limits, nothing can be pruned, or a limit names
            what there is not.
    """
    limits.check(structure)
    for name, share in (("macs", macs), ("parameters", parameters)):
        if share is not None:
            checked_share(name, share)
    if not structure.groups:
        reasons = "; ".join(f"{layer}: {why}" for layer, why in structure.untouched[:4])
        raise BadInput(f"no channels can be removed ({reasons})", where=type(structure.module).__name__)
    least = np.array([limits.counts(group)[0] for group in structure.groups], dtype=np.int64)
    if not _Budget(structure, macs, parameters).met(least):
        raise BadInput(
            f"at most {1 - structure.macs(least) / max(structure.macs(), 1):.0%} of multiply-adds and "
            f"{1 - structure.parameters(least) / structure.parameters():.0%} of parameters can go",
            where="budget",
            hint="raise max_ratio, lower round_to, or ignore fewer layers",
        )


def checked_share(name: str, share: float) -> float:
    """The fraction that may be left.

    Raises:
        BadInput: it is none.
    """
    if not 0 < share <= 1:
        raise BadInput(f"{name}={share} is outside (0, 1]", where="prune", hint="it is the fraction that may be left")
    return share


def select(
    structure: Structure,
    scores: Scores,
    *,
    macs: float | None = None,
    parameters: float | None = None,
    scope: Scope = "global",
    normalise: Normalise = "mean",
    cost_aware: float = 0.0,
    limits: Limits,
) -> dict[str, Ints]:
    """Units that stay under a budget, by bisection on exact counts.

    Args:
        scores: one number a unit.
        macs: fraction of multiply-adds that may be left.
        parameters: fraction of parameters that may be left.
        scope: ``"global"`` compares scores across groups, ``"uniform"`` takes the same fraction of every group.
        normalise: what the scores of a group are divided by before comparing them.
        cost_aware: power of the multiply-adds that a unit costs by which its score is divided; 0 compares importance
            alone, 1 importance for each multiply-add.

    Raises:
        BadInput: the budget is no fraction or cannot be met within the limits, nothing can be pruned, ``cost_aware`` is
            outside [0, 1], or the limits name what there is not.
    """
    if not 0 <= cost_aware <= 1:
        raise BadInput(f"cost_aware={cost_aware} is outside [0, 1]", where="prune", hint="it is a power of costs")
    check_budget(structure, limits, macs=macs, parameters=parameters)
    budget = _Budget(structure, macs, parameters)
    groups = structure.groups
    ranks = [np.argsort(-scores[g.units], kind="stable") for g in groups]
    if scope == "uniform":
        ratios = np.unique(np.concatenate([np.arange(g.size + 1) / g.size for g in groups]))
        candidates: _Uniform | _Global = _Uniform(groups, limits, 1 - ratios)
    else:
        comparable = _comparable(structure, scores, normalise, cost_aware)
        candidates = _Global(groups, limits, comparable)
    low, high = 0, candidates.steps
    while low < high:
        middle = (low + high) // 2
        if budget.met(candidates.counts(middle)):
            high = middle
        else:
            low = middle + 1
    counts = _restore(structure, candidates.counts(high), scores, limits, budget, ranks)
    return {g.name: np.sort(ranks[i][: counts[i]]) for i, g in enumerate(groups)}


def select_by_ratio(
    structure: Structure, scores: Scores, ratios: Mapping[str, float], limits: Limits
) -> dict[str, Ints]:
    """Units that stay when a given part of each named group goes; other groups stay whole.

    Raises:
        BadInput: no group has this name, a ratio is outside [0, 1), or the limits name what there is not.
    """
    kept: dict[str, Ints] = {}
    for name, count in counts_by_ratio(structure, ratios, limits).items():
        (group,) = structure.named([name])
        kept[name] = np.sort(np.argsort(-scores[group.units], kind="stable")[:count])
    return kept


def counts_by_ratio(structure: Structure, ratios: Mapping[str, float], limits: Limits) -> dict[str, int]:
    """How many units stay when a given part of each named group goes; raises as ``select_by_ratio``."""
    limits.check(structure)
    counts: dict[str, int] = {}
    for group, (name, ratio) in zip(structure.named(ratios), ratios.items(), strict=True):
        if not 0 <= ratio < 1:
            raise BadInput(f"ratio {ratio} is outside [0, 1)", where=name, hint="it is the part that goes")
        counts[name] = limits.nearest(group, (1 - ratio) * group.size)
    return counts


@dataclass(frozen=True, slots=True)
class _Budget:
    structure: Structure
    macs: float | None
    parameters: float | None

    def met(self, counts: _Counts) -> bool:
        s = self.structure
        return (self.macs is None or s.macs(counts) <= self.macs * s.macs()) and (
            self.parameters is None or s.parameters(counts) <= self.parameters * s.parameters()
        )


class _Uniform:
    def __init__(self, groups: Sequence[Group], limits: Limits, kept: npt.NDArray[np.float64]) -> None:
        self._groups, self._limits, self._kept = groups, limits, np.sort(kept)[::-1]
        self.steps = len(kept) - 1

    def counts(self, step: int) -> _Counts:
        part = self._kept[step]
        return np.array([self._limits.nearest(g, part * g.size) for g in self._groups], dtype=np.int64)


class _Global:
    """The first ``step`` units in the order of their scores go, but for what the limits hold back."""

    def __init__(self, groups: Sequence[Group], limits: Limits, scores: Scores) -> None:
        self._groups, self._limits = groups, limits
        owner = np.repeat(np.arange(len(groups)), [g.size for g in groups])
        self._order = owner[np.argsort(scores, kind="stable")]
        self._sizes = np.array([g.size for g in groups], dtype=np.int64)
        self._allowed = [np.array(limits.counts(g)) for g in groups]
        self.steps = len(scores)

    def counts(self, step: int) -> _Counts:
        left = self._sizes - np.bincount(self._order[:step], minlength=len(self._sizes))
        # Of two that are as near always the same one, so that the counts fall monotonically.
        return np.array([a[np.abs(a - n).argmin()] for a, n in zip(self._allowed, left, strict=True)], dtype=np.int64)


def _comparable(structure: Structure, scores: Scores, normalise: Normalise, cost_aware: float) -> Scores:
    result = scores.astype(np.float64).copy()
    for i, group in enumerate(structure.groups):
        own = result[group.units]
        by = {"none": 1.0, "mean": own.mean(), "max": own.max(), "norm": float(np.linalg.norm(own))}[normalise]
        cost = max(structure.saved(i), 1.0) ** cost_aware if cost_aware else 1.0
        result[group.units] = own / (by if by > 0 else 1.0) / cost
    return result


def _restore(
    structure: Structure,
    counts: _Counts,
    scores: Scores,
    limits: Limits,
    budget: _Budget,
    ranks: Sequence[Ints],
) -> _Counts:
    """Give back what rounding took too much: the best-scored next step of any group while the budget holds."""
    counts = counts.copy()
    while True:
        best, gain = None, 0.0
        for i, group in enumerate(structure.groups):
            more = [n for n in limits.counts(group) if n > counts[i]]
            if not more:
                continue
            own = scores[group.units]
            value = own[ranks[i][counts[i] : more[0]]].sum() / (own.sum() or 1.0)
            grown = counts.copy()
            grown[i] = more[0]
            if value > gain and budget.met(grown):
                best, gain = grown, value
        if best is None:
            return counts
        counts = best
