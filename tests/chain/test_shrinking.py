"""Pruning onto the budget: predictions that are wrong are set right by programs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chain.conftest import torch
from compress.search.toy import Toy, Widths
from edgesmith.chain.shrinking import Shrinking
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

    def __call__(self, module: Any) -> float:
        return self.known * self.toy.cost(module) / self.budget

    def measured(self, module: Any) -> float:
        self.measurements += 1
        predicted = self.toy.cost(module) / self.budget
        taken = self.factor * predicted**self.bend
        self.known = taken / predicted
        return taken

    @property
    def corrections(self) -> dict[str, float]:
        return {"known": self.known}

    def restore(self, corrections: dict[str, float]) -> None:
        self.known = corrections["known"]


Make = Callable[..., Shrinking]


@pytest.fixture
def shrinking(tmp_path: Path) -> Make:
    def make(costs: WrongCosts, **options: Any) -> Shrinking:
        problem = costs.toy.problem(step=options.pop("step", 2))
        functions = (costs.toy.evaluate, costs.toy.finetune)
        folder = options.pop("folder", tmp_path)

        def globally(place: float) -> tuple[int, ...]:
            return problem.smallest if place >= 1 else problem.shape([place * share for share in (0.4, 0.8, 0.4, 0.8)])

        places = (problem.module, tuple(problem.groups), costs.toy.prune, globally, costs)
        return Shrinking(*places, *functions, 0.8, 0, folder, lambda *_: None)  # type: ignore[arg-type]

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
