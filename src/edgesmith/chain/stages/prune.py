"""Structured pruning: channels go, and what is left is a smaller network of ordinary layers."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from edgesmith.chain.channels import NetworkChannels
from edgesmith.chain.costs import Costs
from edgesmith.chain.models import own_modules
from edgesmith.chain.schema import unknown
from edgesmith.chain.shrinking import GLOBAL, UNIFORM, Shrinking
from edgesmith.chain.stage import Outcome, Stage, stage
from edgesmith.chain.work import Work
from edgesmith.compress.prune import IMPORTANCE, Pruned, apply_shape, stepwise
from edgesmith.compress.search import SEARCHES, RayWorkers, is_parallel
from edgesmith.compress.search.ray_workers import gpus_each, installed_ray
from edgesmith.compress.training import Settings, evaluate, fit
from edgesmith.errors import BadInput, BudgetMissed
from edgesmith.quantize.precisions import PRECISIONS
from edgesmith.target import Target, parse

__all__ = ["Prune", "vector_channels"]

BUDGET = "budget"
BYTES_TOGETHER = 4
"""Inputs of one channel's dot product that instructions for bytes take at once."""
SEARCH = (GLOBAL, UNIFORM)


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
        workers: candidates of a search that are trained and evaluated at a time, each in a task of Ray (extra ``ray``)
            with one processor and a share of this machine's GPUs. What ``RAY_ADDRESS`` says may be a cluster.
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
    workers: int = 1

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
            (self.workers >= 1, "workers", "must be 1 or more"),
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
        """Whether the search is one, knows its settings, and has work for workers."""
        if self.workers > 1 and (self.search in SEARCH or not is_parallel(self.search)):
            able = ", ".join(name for name in SEARCHES if is_parallel(name))
            why = f"{self.search!r} has no candidates that could be tried at a time"
            raise BadInput(why, where="workers", hint=f"search = one of {able}")
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
        known = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY} - {"seed", "record", "progress", "parallel"}
        for name in self.settings or {}:
            if name not in known:
                raise unknown(name, known, "settings", f"setting of {self.search!r}")

    @property
    def parameters(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name != "workers"}

    def check(self, index: int, before: tuple[Stage, ...], where: str) -> None:
        if self.workers > 1:
            installed_ray()

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
        multiple = self.multiple(work)
        channels = NetworkChannels(
            work.module,
            work.example,
            work.data.labelled_batches,
            multiple,
            self.most,
            self.ignore,
            self.importance,
            work.recipe.seed,
        )
        costs, validation = Costs(work, work.limits), work.data.validation
        try:
            with self._parallel(work) as parallel:
                shrinking = Shrinking(
                    work.module,
                    channels,
                    costs,
                    lambda module: evaluate(channels.recalibrated(module), validation),
                    self._finetune(work),
                    self.most,
                    work.recipe.seed,
                    work.folder,
                    work.progress,
                    parallel,
                )
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

        part, device = work.data.part(self.short_epochs), work.device

        def train(module: Any) -> None:
            fit(module, part, settings, shown=False, device=device)
            module.cpu()

        return train

    def _parallel(self, work: Work) -> AbstractContextManager[RayWorkers | None]:
        if self.workers == 1:
            return nullcontext()
        gpus = gpus_each(self.workers, work.device)
        return RayWorkers(self.workers, num_gpus=gpus, by_value=own_modules())


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
