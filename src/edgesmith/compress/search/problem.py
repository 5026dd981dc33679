"""What searches over pruning ratios are given, and what they give back."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import nn

from edgesmith.compress.roles import Evaluate, Finetune
from edgesmith.errors import BadInput

__all__ = ["Cost", "Found", "Group", "Problem", "Progress", "Prune", "Ratios", "Shape", "quality", "silent"]

Ratios = Mapping[str, float]
"""By a group's name, the share of its channels that goes: 0 keeps all."""

Prune = Callable[[nn.Module, Ratios], nn.Module]
"""Gives a smaller module; the given one stays as it is. Groups that are not named keep their channels."""

Cost = Callable[[nn.Module], float]
"""What the budget is about: milliseconds, MACs, kilobytes."""

Progress = Callable[[str, int, int], None]
"""Called with what is done, the pieces done and the pieces in all."""

Shape = tuple[int, ...]
"""Channels that each group keeps, in the problem's order."""


def silent(what: str, done: int, total: int) -> None:
    """The progress callback of a caller who gave none."""


def quality(evaluate: Evaluate, module: nn.Module) -> float:
    """What ``evaluate`` gives; what is no number, as after a training that diverged, counts as the worst."""
    score = float(evaluate(module))
    return -math.inf if math.isnan(score) else score


@dataclass(frozen=True)
class Group:
    """Channels that can only be removed together.

    Args:
        name: as ``Prune`` knows it.
        channels: how many there are.
        step: they go in multiples of this, counted from what is kept.
        least: so many stay.
        features: what else describes the group to a learning search: such as ``layer_features`` of its first layer.

    Raises:
        BadInput: a number of channels is below 1.
    """

    name: str
    channels: int
    step: int = 1
    least: int = 1
    features: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for what, count in (("channels", self.channels), ("step", self.step), ("least", self.least)):
            if count < 1:
                raise BadInput(f"{what}={count} is below 1", where=f"group {self.name!r}", hint="such as step=8")

    def kept(self, ratio: float) -> int:
        """Channels that are left when a share of them goes: the nearest multiple of ``step``."""
        wanted = self.channels * (1.0 - ratio)
        if wanted >= self.channels - self.step / 2:
            return self.channels
        return min(max(round(wanted / self.step) * self.step, self.least), self.channels)

    def ratio(self, kept: int) -> float:
        return 1.0 - kept / self.channels


@dataclass(frozen=True, eq=False)
class Problem:
    """Prune a module until its cost is within a budget, losing as little as possible.

    Args:
        module: trained.
        cost: may be measured; searches ask for each shape once.
        budget: most that it may cost; ``tolerance`` below it is near enough.
        evaluate: more is better.
        finetune: a short training of a pruned module before it is evaluated (default: none).
        most: no group loses a larger share.
        perfect: the best that ``evaluate`` can give.

    Raises:
        BadInput: there are no groups, or two of one name; or the budget or a share is none.
    """

    module: nn.Module
    groups: Sequence[Group]
    prune: Prune
    cost: Cost
    budget: float
    evaluate: Evaluate
    finetune: Finetune | None = None
    most: float = 0.8
    tolerance: float = 0.05
    perfect: float = 100.0

    def __post_init__(self) -> None:
        hint = "such as [Group(g.name, g.size) for g in prune.groups(module, example)]"
        for group in self.groups:
            if not isinstance(group, Group):
                why = f"{type(group).__name__} is no group of channels as searches know them"
                raise BadInput(why, where="search", hint=hint)
        names = [g.name for g in self.groups]
        if not names or len(set(names)) < len(names):
            raise BadInput("needs groups of different names", where="search", hint=hint)
        if not self.budget > 0:
            raise BadInput(f"budget={self.budget}", where="search", hint="give a cost above 0")
        for name, share in (("most", self.most), ("tolerance", self.tolerance)):
            if not 0 < share < 1:
                raise BadInput(f"{name}={share} is outside (0, 1)", where="search", hint="it is a share")

    @property
    def whole(self) -> Shape:
        """Nothing pruned."""
        return tuple(g.channels for g in self.groups)

    @property
    def smallest(self) -> Shape:
        """Everything pruned that may be."""
        return tuple(g.kept(self.most) for g in self.groups)

    def shape(self, ratios: Ratios | Sequence[float]) -> Shape:
        """What ratios leave, by name or in the groups' order; beyond ``most`` they count as that."""
        given = [ratios.get(g.name, 0.0) for g in self.groups] if isinstance(ratios, Mapping) else list(ratios)
        return tuple(g.kept(min(max(r, 0.0), self.most)) for g, r in zip(self.groups, given, strict=True))

    def ratios(self, shape: Shape) -> dict[str, float]:
        return {g.name: g.ratio(kept) for g, kept in zip(self.groups, shape, strict=True)}

    def pruned(self, shape: Shape) -> nn.Module:
        """The module of a shape, not trained since."""
        return self.prune(self.module, {n: r for n, r in self.ratios(shape).items() if r > 0})

    @property
    def digest(self) -> str:
        """Of what makes two searches the same one; the functions are the caller's to vouch for."""
        groups = [(g.name, g.channels, g.step, g.least, g.features) for g in self.groups]
        text = repr((groups, self.budget, self.most, self.tolerance, self.perfect))
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class Found:
    """The outcome of a search.

    Args:
        method: its name.
        ratios: by group.
        shape: channels that are kept, in the groups' order.
        cost: within the budget.
        score: what ``evaluate`` gave, after the short training.
        module: pruned, with the weights that were evaluated.
        trials: shapes that were evaluated.
    """

    method: str
    ratios: Mapping[str, float]
    shape: Shape
    cost: float
    score: float
    module: nn.Module
    trials: int
    history: Sequence[Mapping[str, float]] = field(default=(), repr=False)
