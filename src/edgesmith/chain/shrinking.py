"""Pruning onto the budget: a search by predicted costs, set right by what its programs measure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from edgesmith.atomic import write_file
from edgesmith.chain.budget import TOLERANCE
from edgesmith.chain.costs import Costs
from edgesmith.compress.search import Found, Group, Parallel, Problem, Trials, along, fit, search, uniform
from edgesmith.compress.search.problem import Progress, Shape

__all__ = ["GLOBAL", "UNIFORM", "Channels", "Shrinking", "Shrunk"]

CORRECTIONS = 4
MARGIN = 0.98
"""Of the budget is aimed at, once more for every time that a program took longer than predicted."""
UNIFORM, GLOBAL = "uniform", "global"
"""The same share of every group; channels by one threshold of importance for all groups."""


class Channels(Protocol):
    """What can be taken from the network that is pruned, and how."""

    @property
    def groups(self) -> Sequence[Group]: ...

    def prune(self, module: Any, ratios: Mapping[str, float]) -> Any:
        """A smaller module, at once, as predictions need it."""

    def in_steps(self, ratios: Mapping[str, float]) -> Any:
        """The network with so much gone, cut by cut, as it will be kept."""

    def recalibrated(self, module: Any) -> Any:
        """A copy whose statistics are those of the channels that are left."""

    def globally(self, place: float) -> Shape:
        """On the way from nothing pruned (0) to everything that may be (1), by one threshold of importance."""


@dataclass(frozen=True)
class Shrunk:
    """A pruned network.

    Args:
        ratios: by group, of the whole network.
        shape: channels that are kept, in the groups' order.
        module: pruned, its statistics measured anew; trained as far as the search trained it.
        measured: its program's cost as a share of the budget.
        trials: networks that the search trained and evaluated.
    """

    ratios: Mapping[str, float]
    shape: Shape
    module: Any
    measured: float
    trials: int


@dataclass
class Shrinking:
    """One module on its way onto the budget.

    Args:
        costs: as shares of the budget.
        folder: keeps corrections and the search's record, for the next process after an interruption.
        parallel: evaluates candidates of a search together; costs are predicted, and programs measured, while none is.
    """

    module: Any
    channels: Channels
    costs: Costs
    evaluate: Callable[[Any], float]
    finetune: Callable[[Any], None] | None
    most: float
    seed: int
    folder: Path
    progress: Progress
    parallel: Parallel | None = None

    def run(self, method: str, settings: Mapping[str, Any]) -> Shrunk:
        """Prune until the program is within the budget and at most ``TOLERANCE`` below it, as far as channels permit.

        Raises:
            BudgetMissed: the smallest network's program is not within the budget.
        """
        self._corrected()
        if method == UNIFORM:
            return self._settled(uniform(self._trials(1.0)), None, 0, uniform)
        if method == GLOBAL:
            return self._settled(self._globally(self._trials(1.0)), None, 0, self._globally)
        found = search(
            self._problem(1.0),
            method,
            seed=self.seed,
            record=self.folder / "search.jsonl",
            progress=self.progress,
            parallel=self.parallel,
            **settings,
        )
        ratios = list(found.ratios.values())
        return self._settled(found.shape, found, found.trials, lambda trials: fit(trials, ratios))

    def smallest(self) -> Any:
        """The network without everything that may go."""
        problem = self._problem(1.0)
        return problem.pruned(problem.smallest)

    def _globally(self, trials: Trials) -> Shape:
        return along(trials, self.channels.globally)

    def _corrected(self) -> None:
        """Corrections of predictions near the budget, the same ones after an interruption."""
        file = self.folder / "corrections.json"
        if file.is_file():
            self.costs.restore(json.loads(file.read_text()))
            return
        self.progress("programs measured", 0, 2)
        if self.costs.measured(self.module) > 1:
            self.progress("programs measured", 1, 2)
            pruned = self._problem(1.0).pruned(uniform(self._trials(1.0)))
            self.costs.measured(self.channels.recalibrated(pruned))
        self.progress("programs measured", 2, 2)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_file(file, json.dumps(self.costs.corrections).encode())

    def _settled(self, shape: Shape, found: Found | None, trials: int, onto: Callable[[Trials], Shape]) -> Shrunk:
        """The shape, fitted again with what its program measured, until that is within the budget and near it."""
        problem, aim = self._problem(1.0), 1.0
        tried: dict[Shape, Shrunk] = {}
        for i in range(CORRECTIONS):
            module = self._module(shape, found)
            measured = self.costs.measured(module)
            tried[shape] = Shrunk(problem.ratios(shape), shape, module, measured, trials)
            self.progress("programs corrected", i + 1, CORRECTIONS)
            if 1 - TOLERANCE <= measured <= 1 or (measured <= 1 and shape == problem.whole):
                break
            aim *= MARGIN if measured > 1 else 1.0
            shape = onto(self._trials(aim))
            if shape in tried:
                break
        self.progress("programs corrected", CORRECTIONS, CORRECTIONS)
        within = [s for s in tried.values() if s.measured <= 1]
        return max(within, key=lambda s: s.measured) if within else min(tried.values(), key=lambda s: s.measured)

    def _module(self, shape: Shape, found: Found | None) -> Any:
        """Of the search's module where it only has to lose more, else of the whole one, as the stage will give it.

        Weights count: by them quantisation decides what stays in floats, which takes time.
        """
        if found is None:
            return self.channels.in_steps(self._problem(1.0).ratios(shape))
        if any(new > old for new, old in zip(shape, found.shape, strict=True)):
            return self.channels.recalibrated(self._problem(1.0).pruned(shape))
        pairs = zip(self.channels.groups, shape, found.shape, strict=True)
        ratios = {g.name: 1 - new / old for g, new, old in pairs if new < old}
        return self.channels.recalibrated(self.channels.prune(found.module, ratios) if ratios else found.module)

    def _problem(self, budget: float) -> Problem:
        return Problem(
            self.module,
            self.channels.groups,
            self.channels.prune,
            self.costs,
            budget,
            self.evaluate,
            self.finetune,
            most=self.most,
            tolerance=TOLERANCE / 2,
        )

    def _trials(self, budget: float) -> Trials:
        return Trials(self._problem(budget), {"method": UNIFORM, "seed": self.seed}, progress=self.progress)
