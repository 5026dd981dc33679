"""Pruning onto the budget: predictions that are wrong are set right by programs."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from chain.conftest import torch
from compress.search.toy import Toy, Widths
from edgesmith.chain.shrinking import Shrinking
from edgesmith.compress.search import Problem
from edgesmith.errors import BudgetMissed

pytestmark = pytest.mark.torch
assert torch

CHANNELS, WEIGHTS = (64, 128, 128, 64), (60.0, 2.0, 60.0, 2.0)


class WrongCosts:
    """Predictions that are off by a factor that correcting finds, and by one that depends on the shape.

    Args:
        bend: exponent of the measured cost over the predicted one.
    """

    def __init__(self, toy: Toy, budget: float, factor: float, bend: float = 1.0) -> None:
        self.toy, self.budget, self.factor, self.bend = toy, budget, factor, bend
        self.known = 1.0
        self.measurements = 0
        self.recalibrated: list[bool] = []

    def __call__(self, module: Any) -> float:
        return self.known * self.toy.cost(module) / self.budget

    def measured(self, module: Any) -> float:
        self.measurements += 1
        self.recalibrated.append(getattr(module, "is_recalibrated", False))
        predicted = self.toy.cost(module) / self.budget
        taken = self.factor * predicted**self.bend
        self.known = taken / predicted
        return taken

    @property
    def corrections(self) -> dict[str, float]:
        return {"known": self.known}

    def restore(self, corrections: dict[str, float]) -> None:
        self.known = corrections["known"]


class ToyChannels:
    """Groups of a toy's channels; modules that a stage gives are marked."""

    def __init__(self, problem: Problem) -> None:
        self.problem, self.groups = problem, tuple(problem.groups)
        self.prune = problem.prune

    def in_steps(self, ratios: Mapping[str, float]) -> Any:
        module = self.recalibrated(self.prune(self.problem.module, ratios))
        module.is_in_steps = True
        return module

    def recalibrated(self, module: Any) -> Any:
        module = copy.deepcopy(module)
        module.is_recalibrated = True
        return module

    def globally(self, place: float) -> tuple[int, ...]:
        if place >= 1:
            return self.problem.smallest
        return self.problem.shape([place * share for share in (0.4, 0.8, 0.4, 0.8)])


Make = Callable[..., Shrinking]


@pytest.fixture
def shrinking(tmp_path: Path) -> Make:
    def make(costs: WrongCosts, **options: Any) -> Shrinking:
        problem = costs.toy.problem(step=options.pop("step", 2))
        toy, folder = costs.toy, options.pop("folder", tmp_path)
        places: Any = (problem.module, ToyChannels(problem), costs, toy.evaluate, toy.finetune)
        return Shrinking(*places, 0.8, 0, folder, lambda *_: None)

    return make


@pytest.mark.parametrize("factor", [0.6, 1.0, 1.7])
@pytest.mark.parametrize("bend", [0.8, 1.0, 1.2])
@pytest.mark.parametrize("method", ["uniform", "global", "netadapt", "evolution"])
def test_the_program_is_within_the_budget_and_near_it(shrinking: Make, factor: float, bend: float, method: str) -> None:
    toy = Toy(CHANNELS, WEIGHTS)
    costs = WrongCosts(toy, toy.cost(Widths(CHANNELS)) * 0.5, factor, bend)
    settings = {"evolution": {"population": 6, "generations": 2}, "netadapt": {"saving": 0.1}}.get(method, {})
    shrunk = shrinking(costs).run(method, settings)
    assert 0.95 <= shrunk.measured <= 1
    assert costs.measurements <= 7
    assert tuple(shrunk.module.widths) == shrunk.shape
    assert shrunk.module.is_recalibrated
    assert hasattr(shrunk.module, "is_in_steps") is (method in ("uniform", "global"))
    assert all(costs.recalibrated[1:]), "only the whole network is measured as it is"


def test_nothing_is_pruned_where_the_program_is_within_the_budget(shrinking: Make) -> None:
    toy = Toy(CHANNELS, WEIGHTS)
    costs = WrongCosts(toy, toy.cost(Widths(CHANNELS)) * 1.2, 0.9)
    shrunk = shrinking(costs).run("uniform", {})
    assert shrunk.shape == CHANNELS and not any(shrunk.ratios.values())


def test_a_budget_out_of_reach_is_said(shrinking: Make) -> None:
    toy = Toy(CHANNELS, WEIGHTS)
    with pytest.raises(BudgetMissed):
        shrinking(WrongCosts(toy, toy.cost(Widths(CHANNELS)) * 0.01, 1.0)).run("uniform", {})
    assert toy.evaluated == 0


def test_an_interrupted_search_goes_on_with_the_same_corrections(shrinking: Make, tmp_path: Path) -> None:
    def costs(toy: Toy, factor: float) -> WrongCosts:
        return WrongCosts(toy, toy.cost(Widths(CHANNELS)) * 0.5, factor)

    settings = {"population": 6, "generations": 2}
    undisturbed = shrinking(costs(Toy(CHANNELS, WEIGHTS), 1.3), folder=tmp_path / "a").run("evolution", settings)
    toy = Toy(CHANNELS, WEIGHTS)
    toy.stop_after = 5
    with pytest.raises(KeyboardInterrupt):
        shrinking(costs(toy, 1.3)).run("evolution", settings)
    kept = json.loads((tmp_path / "corrections.json").read_text())
    toy.stop_after = None
    resumed = shrinking(costs(toy, 1.3)).run("evolution", settings)
    assert json.loads((tmp_path / "corrections.json").read_text()) == kept
    assert resumed.shape == undisturbed.shape
