"""Structured pruning: channels go, and what is left is a smaller network of ordinary layers."""

from __future__ import annotations

import copy
import inspect
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

from edgesmith.chain.costs import Costs
from edgesmith.chain.schema import unknown
from edgesmith.chain.shrinking import GLOBAL, UNIFORM, Shrinking
from edgesmith.chain.stage import Outcome, Stage, stage
from edgesmith.chain.work import Work
from edgesmith.compress.prune import (
    IMPORTANCE,
    Limits,
    Pruned,
    analyse,
    apply_shape,
    cuts,
    prune,
    recalibrate,
    stepwise,
)
from edgesmith.compress.prune.scoring import Scoring, cross_entropy
from edgesmith.compress.search import SEARCHES, Group
from edgesmith.compress.search.problem import Shape
from edgesmith.compress.training import Settings, fit
from edgesmith.errors import BadInput, BudgetMissed
from edgesmith.quantize.precisions import PRECISIONS
from edgesmith.target import Target, parse

__all__ = ["Prune", "vector_channels"]

BUDGET = "budget"
BYTES_TOGETHER = 4
"""Inputs of one channel's dot product that instructions for bytes take at once."""
SEARCH = (GLOBAL, UNIFORM)
CUTS = 12
"""Between the whole network and the smallest one."""


@stage("prune")
@dataclass(frozen=True, kw_only=True)
class Prune(Stage):
    """Fewer channels, by their importance.

    Args:
        target: ``budget``: as much as the recipe's budget asks for; or a number: this share of the multiply-adds stays.
        search: how the groups of channels share it: ``global`` (one threshold of importance), ``uniform`` (the same
            share of each), or a method of ``compress.search``: ``netadapt``, ``amc``, ``evolution``, ``optuna``.
        settings: of the search, such as ``{ saving = 0.1 }``.
        importance: of channels: ``l1``, ``l2``, ``taylor``, ``hessian``, ...
        round_to: channels are left in multiples of this (default: what fills a vector of the target, see
            ``vector_channels``).
        most: no group loses a larger share.
        ignore: regular expressions of layers whose channels all stay.
        short_epochs: the search's own training of each candidate, as a part of an epoch; 0: none.
        short_lr: of that training.
    """

    compresses: ClassVar[bool] = True

    target: str | float = BUDGET
    search: str = GLOBAL
    settings: Mapping[str, Any] | None = None
    importance: str = "taylor"
    round_to: int | None = None
    most: float = 0.8
    ignore: tuple[str, ...] = ()
    short_epochs: float = 0.0
    short_lr: float = 0.005

    def __post_init__(self) -> None:
        searches, criteria = ", ".join((*SEARCH, *SEARCHES)), ", ".join(IMPORTANCE)
        for holds, where, why in (
            (not isinstance(self.target, str) or self.target == BUDGET, "target", f"is neither {BUDGET!r} nor a share"),
            (isinstance(self.target, str) or 0 < self.target < 1, "target", "is not between 0 and 1"),
            (self.search in SEARCH or self.search in SEARCHES, "search", f"is not one of {searches}"),
            (self.importance in IMPORTANCE, "importance", f"is not one of {criteria}"),
            (0 < self.most < 1, "most", "is not between 0 and 1"),
            (self.round_to is None or self.round_to >= 1, "round_to", "must be 1 or more"),
            (0 <= self.short_epochs <= 1, "short_epochs", "is not from 0 to 1"),
            (self.short_lr > 0, "short_lr", "must be above 0"),
        ):
            if not holds:
                raise BadInput(f"{getattr(self, where)!r} {why}", where=where)
        for pattern in self.ignore:
            try:
                re.compile(pattern)
            except re.error as error:
                raise BadInput(f"{pattern!r} is no regular expression: {error}", where="ignore") from error
        self._check_search()

    def _check_search(self) -> None:
        """Whether the search is one, and knows its settings."""
        if self.search in SEARCH:
            for name in ("settings", "short_epochs"):
                if getattr(self, name):
                    why = f"{name} has no meaning for {self.search!r}, which tries no candidates"
                    raise BadInput(why, where=name, hint=f"search = one of {', '.join(SEARCHES)}")
            return
        if self.target != BUDGET:
            why = f"{self.search!r} searches within the budget, not by a share of the multiply-adds"
            hint = f'target = "budget" with [budget] macs = "{self.target:.0%}", or search = "global"'
            raise BadInput(why, where="search", hint=hint)
        parameters = inspect.signature(SEARCHES[self.search]).parameters.values()
        known = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY} - {"seed", "record", "progress"}
        for name in self.settings or {}:
            if name not in known:
                raise unknown(name, known, "settings", f"setting of {self.search!r}")

    @property
    def needs_budget(self) -> bool:
        return self.target == BUDGET

    @property
    def uses_target(self) -> bool:
        return self.uses_budget or self.round_to is None

    def multiple(self, work: Work) -> int:
        """What channels are left in multiples of."""
        return self.round_to or vector_channels(parse(work.recipe.target.name), work.recipe.precision)

    def planned(self, budget: str) -> str:
        if isinstance(self.target, str):
            return f"to {budget or 'no limit'}, {self.search}"
        return f"to {self.target:.0%} of the MACs"

    def run(self, work: Work) -> Outcome:
        if isinstance(self.target, str):
            return self._onto_budget(work)
        scope: Any = UNIFORM if self.search == UNIFORM else GLOBAL
        multiple = self.multiple(work)
        own = {"round_to": multiple, "max_ratio": self.most, "ignore": self.ignore, "scope": scope}
        data = work.data.labelled_batches
        pruned = stepwise(work.module, work.example, macs=self.target, importance=self.importance, data=data, **own)
        return Outcome(pruned.module, {"text": pruned.shape.to_json()}, notes=(_left(pruned, multiple),))

    def rebuilt(self, module: Any, shape: Mapping[str, Any], work: Work) -> Any:
        return apply_shape(module, shape["text"])

    def _onto_budget(self, work: Work) -> Outcome:
        channels, multiple = _Channels(self, work), self.multiple(work)
        costs = Costs(work, work.limits)
        shrinking = Shrinking(
            work.module,
            channels,
            costs,
            lambda module: work.evaluate(channels.recalibrated(module)),
            self._finetune(work),
            self.most,
            work.recipe.seed,
            work.folder,
            work.progress,
        )
        try:
            shrunk = shrinking.run(self.search, self.settings or {})
        except BudgetMissed as error:
            gone = (
                f"with {self.most:.0%} of the channels gone from every group, as far as multiples of {multiple} permit"
            )
            finer = f"; or leave multiples of fewer channels: round_to = {multiple // 2}" if multiple > 1 else ""
            hint = f"raise the budget or 'most', or start from a smaller network{finer}"
            why = f"{gone}, it still needs {costs.above(shrinking.smallest())}"
            raise BudgetMissed(why, where=error.where, hint=hint) from error
        pruned = channels.pruned(work.module, shrunk.ratios) if shrunk.trials else channels.stepped(shrunk.ratios)
        each = f", {self.short_epochs:g} epochs each" if self.short_epochs else ""
        tried = (f"{self.search}: {shrunk.trials} networks evaluated{each}",) if shrunk.trials else ()
        measured = f"measured at {shrunk.measured:.1%} of the budget"
        notes = (*tried, measured, _left(pruned, multiple))
        return Outcome(shrunk.module, {"text": pruned.shape.to_json()}, notes=notes)

    def _finetune(self, work: Work) -> Callable[[Any], None] | None:
        if not self.short_epochs:
            return None
        settings = Settings(epochs=1, lr=self.short_lr, schedule="cosine", seed=work.recipe.seed)

        def train(module: Any) -> None:
            fit(module, work.data.part(self.short_epochs), settings, shown=False, device=work.device)
            module.cpu()

        return train


@dataclass
class _Channels:
    """The channels of the module that a stage prunes: analysed and scored once."""

    stage: Prune
    work: Work
    _stepped: dict[tuple[tuple[str, float], ...], Pruned] = field(default_factory=dict)

    @cached_property
    def _structure(self) -> Any:
        return analyse(self.work.module, self.work.example)

    @cached_property
    def _scores(self) -> Any:
        scoring = Scoring(self._structure, self.work.data.labelled_batches, cross_entropy, self.work.recipe.seed)
        return IMPORTANCE[self.stage.importance](scoring)

    @cached_property
    def _limits(self) -> Limits:
        return Limits(self.stage.multiple(self.work), self.stage.most, self.stage.ignore)

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        found = [g for g in self._structure.groups if not self._limits.ignores(g)]
        if not found:
            reasons = "; ".join(f"{layer}: {why}" for layer, why in self._structure.untouched[:3])
            raise BadInput(f"no channels can be pruned ({reasons})", where="prune")
        multiple = self.stage.multiple(self.work)
        steps = [min(multiple // math.gcd(multiple, g.width), g.size) for g in found]
        return tuple(Group(g.name, g.size, step, step) for g, step in zip(found, steps, strict=True))

    def pruned(self, module: Any, ratios: Mapping[str, float]) -> Pruned:
        """A smaller module; ratios are exact, because the groups know the steps."""
        ratios = {name: ratio for name, ratio in ratios.items() if ratio > 0}
        own: dict[str, Any] = {"importance": self.stage.importance}
        if module is self.work.module:
            scores = self._scores
            own = {"importance": lambda _: scores, "structure": self._structure}
        data = self.work.data.labelled_batches
        return prune(module, self.work.example, ratios=ratios, data=data, max_ratio=0.999, **own)

    def prune(self, module: Any, ratios: Mapping[str, float]) -> Any:
        return self.pruned(module, ratios).module

    def stepped(self, ratios: Mapping[str, float]) -> Pruned:
        """The stage's module with so much gone, cut by cut; computed once."""
        wanted = tuple(sorted((name, ratio) for name, ratio in ratios.items() if ratio > 0))
        if not wanted:
            return self.pruned(self.work.module, {})
        if wanted not in self._stepped:
            module, example = self.work.module, self.work.example
            self._stepped[wanted] = stepwise(module, example, ratios=dict(wanted), **self._options)
        return self._stepped[wanted]

    def in_steps(self, ratios: Mapping[str, float]) -> Any:
        return self.stepped(ratios).module

    def recalibrated(self, module: Any) -> Any:
        module = copy.deepcopy(module)
        recalibrate(module, self.work.data.labelled_batches)
        return module

    def globally(self, place: float) -> Shape:
        """Numbers of units on the way of cuts by one threshold of importance; 0: all, 1: as few as may be."""
        whole, smallest = tuple(g.channels for g in self.groups), tuple(g.kept(self.stage.most) for g in self.groups)
        if place >= 1:
            return smallest
        shapes = [whole, *self._way, smallest]
        before, part = divmod(place * (len(shapes) - 1), 1)
        pairs = zip(self.groups, shapes[int(before)], shapes[int(before) + 1], strict=True)
        return tuple(g.kept(1 - (a + (b - a) * part) / g.channels) for g, a, b in pairs)

    @cached_property
    def _way(self) -> list[Shape]:
        """Numbers of units after each cut; scores are measured anew after every one of them."""
        limits: dict[str, Any] = {"max_ratio": self.stage.most, "ignore": self.stage.ignore}
        least = self._floor + (1 - self._floor) / CUTS
        done = cuts(self.work.module, self.work.example, macs=least, steps=CUTS, **limits, **self._options)
        return [tuple(len(cut.groups.get(g.name, range(g.channels))) for g in self.groups) for cut in done]

    @cached_property
    def _floor(self) -> float:
        """Share of the multiply-adds that is left when everything goes that may."""
        pruned = self.pruned(self.work.module, {g.name: g.ratio(g.kept(self.stage.most)) for g in self.groups})
        return pruned.after.macs / pruned.before.macs

    @property
    def _options(self) -> dict[str, Any]:
        data, seed = self.work.data.labelled_batches, self.work.recipe.seed
        return {"data": data, "importance": self.stage.importance, "seed": seed}


def vector_channels(target: Target, precision: str) -> int:
    """Channels that fill a vector register of the target.

    Products are summed in lanes of 32 bits, of floats and of bytes alike; bytes are read four at a time besides.
    """
    is_integer = precision in PRECISIONS and PRECISIONS[precision].is_integer
    return max(target.lanes, BYTES_TOGETHER if is_integer else 1)


def _left(pruned: Pruned, multiple: int) -> str:
    if not pruned.groups:
        return "no channels had to go"
    return f"channels left, in multiples of {multiple}: " + ", ".join(
        f"{name} {len(units)}" for name, units in pruned.groups.items()
    )
