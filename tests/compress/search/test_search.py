"""Searches over pruning ratios: within the budget, better than equal ratios, the same after an interruption."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from compress.search.toy import Toy, Widths
from edgesmith.compress import prune
from edgesmith.compress.search import SEARCHES, Group, Problem, Trials, fit, search, uniform
from edgesmith.compress.search.ddpg import Agent, Transition
from edgesmith.compress.search.optuna_study import front
from edgesmith.errors import BadInput, BudgetMissed

pytestmark = pytest.mark.torch

CHANNELS = (32, 64, 64, 48)
WEIGHTS = (60.0, 2.0, 60.0, 2.0)
SETTINGS: dict[str, dict[str, Any]] = {
    "netadapt": {"saving": 0.1},
    "amc": {"episodes": 40, "warm_up": 20, "hidden": 16},
    "evolution": {"population": 8, "generations": 4},
    "optuna": {"trials": 30},
}


def toy(**options: Any) -> Toy:
    return Toy(CHANNELS, WEIGHTS, **options)


def found(made: Toy, method: str, problem: Problem | None = None, **more: Any) -> Any:
    if method == "optuna":
        pytest.importorskip("optuna", reason="Optuna is not installed (extra 'search')")
    return search(problem or made.problem(), method, **SETTINGS[method], **more)


def test_every_search_is_tested() -> None:
    assert set(SEARCHES) == set(SETTINGS)


@pytest.mark.parametrize("method", SETTINGS)
def test_the_budget_is_met_and_unimportant_groups_pay(method: str) -> None:
    made = toy()
    problem = made.problem()
    outcome = found(made, method, problem)
    assert problem.budget * 0.95 <= outcome.cost <= problem.budget
    assert outcome.cost == made.cost(outcome.module)
    equal = Trials(problem, {"method": "uniform", "seed": 0})
    assert outcome.score > equal.score(uniform(equal)) + 1
    assert outcome.score == made.evaluate(outcome.module)
    assert tuple(outcome.module.widths) == outcome.shape
    assert outcome.ratios["g1"] > outcome.ratios["g0"]


@pytest.mark.parametrize("method", SETTINGS)
def test_an_interrupted_search_ends_as_one_that_was_not(method: str, tmp_path: Path) -> None:
    undisturbed = found(toy(), method)
    made = toy()
    file = tmp_path / "search.jsonl"
    made.stop_after = 9
    with pytest.raises(KeyboardInterrupt):
        found(made, method, record=file)
    made.stop_after, made.evaluated, made.costed = None, 0, 0
    resumed = found(made, method, record=file)
    assert (resumed.shape, resumed.score) == (undisturbed.shape, undisturbed.score)
    again = toy()
    found(again, method, record=file)
    assert again.evaluated <= 1 and again.costed <= 1
    assert made.evaluated < undisturbed.trials + 2


@pytest.mark.parametrize("method", SETTINGS)
def test_costs_in_steps_are_met_as_near_as_they_permit(method: str) -> None:
    made = toy(steps=16)
    problem = made.problem(step=8)
    outcome = found(made, method, problem)
    assert outcome.cost <= problem.budget
    wider = [tuple(w + 16 * (j == i) for j, w in enumerate(outcome.shape)) for i in range(len(CHANNELS))]
    more = [s for s in wider if all(w <= c for w, c in zip(s, CHANNELS, strict=True))]
    near = outcome.cost >= 0.95 * problem.budget
    assert near or method == "netadapt" or all(made.cost(problem.pruned(s)) > problem.budget for s in more)


@pytest.mark.parametrize("method", SETTINGS)
def test_a_budget_out_of_reach_is_said_before_anything_is_trained(method: str) -> None:
    made = toy()
    with pytest.raises(BudgetMissed, match=r"costs .*; the budget is"):
        found(made, method, made.problem(0.01))
    assert made.evaluated == 0


def test_the_record_of_another_search_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "search.jsonl"
    found(toy(), "evolution", record=file)
    with pytest.raises(BadInput, match="another search"):
        found(toy(), "evolution", record=file, seed=1)


def test_a_line_that_was_cut_off_is_asked_again(tmp_path: Path) -> None:
    file = tmp_path / "search.jsonl"
    first = found(toy(), "evolution", record=file)
    text = file.read_text()
    file.write_text(text[: int(len(text) * 0.7)])
    made = toy()
    assert found(made, "evolution", record=file).shape == first.shape
    assert made.evaluated > 1


@pytest.mark.parametrize("share", [0.2, 0.37, 0.5, 0.9])
@pytest.mark.parametrize("steps", [1, 8])
def test_fitting_scales_ratios_onto_the_budget(share: float, steps: int) -> None:
    made = Toy((64, 128, 128, 64), (1, 1, 1, 1), steps)
    problem = made.problem(share)
    trials = Trials(problem, {"method": "fit", "seed": 0})
    shape = fit(trials, [0.1, 0.5, 0.3, 0.2])
    assert problem.budget * 0.95 <= trials.cost(shape) <= problem.budget
    assert made.costed < 60


def test_nothing_is_pruned_where_the_budget_is_met_already() -> None:
    made = toy()
    for method in SETTINGS:
        outcome = found(made, method, made.problem(1.0))
        assert outcome.score >= 100.0
        assert outcome.shape == CHANNELS


def test_netadapt_keeps_what_short_trainings_gave() -> None:
    made = toy()
    outcome = found(made, "netadapt")
    assert isinstance(outcome.module, Widths)
    assert float(outcome.module.trained.detach().mean()) >= 4
    assert [h["cost"] for h in outcome.history] == sorted((h["cost"] for h in outcome.history), reverse=True)


def test_log_cost_rewards_search_without_a_constraint_and_end_within_it() -> None:
    made = toy()
    problem = made.problem()
    outcome = search(problem, "amc", reward="log-cost", **SETTINGS["amc"])
    assert outcome.cost <= problem.budget


def test_the_front_holds_no_shape_that_another_beats() -> None:
    pytest.importorskip("optuna")
    made = toy()
    outcomes = front(made.problem(), trials=60, population=10)
    assert len(outcomes) > 3
    costs, scores = [o.cost for o in outcomes], [o.score for o in outcomes]
    assert costs == sorted(costs) and scores == sorted(scores)


def test_two_processes_share_an_optuna_storage(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    storage = f"sqlite:///{tmp_path}/study.db"
    first, second = toy(), toy()
    search(first.problem(), "optuna", trials=4, storage=storage)
    outcome = search(second.problem(), "optuna", trials=8, storage=storage, seed=1)
    assert second.evaluated <= 6 and outcome.cost <= second.problem().budget


def test_the_agent_learns_the_action_that_is_rewarded() -> None:
    agent = Agent(1, 0, hidden=32, actor_rate=3e-3, critic_rate=1e-2)
    for _ in range(150):
        action = agent.random()
        agent.remember([Transition((0.5,), action, -abs(action - 0.8), (0.5,), True)])
    for _ in range(300):
        agent.learn()
    assert agent.act((0.5,)) == pytest.approx(0.8, abs=0.1)


def test_random_numbers_of_the_caller_are_left_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    found(toy(), "netadapt")
    found(toy(), "amc")
    assert torch.equal(torch.rand(1), expected)


def test_a_misspelt_method_and_a_bad_problem_are_refused() -> None:
    made = toy()
    with pytest.raises(BadInput, match="netadapt"):
        search(made.problem(), "netadpat")
    with pytest.raises(BadInput, match="give a cost above 0"):
        made.problem(-1.0)


def test_cma_es_is_one_of_the_samplers() -> None:
    pytest.importorskip("cmaes", reason="cmaes is not installed (extra 'search')")
    made = toy()
    outcome = search(made.problem(), "optuna", sampler="cma", trials=30)
    assert outcome.cost <= made.problem().budget and outcome.ratios["g1"] > outcome.ratios["g0"]


@pytest.mark.parametrize("method", SETTINGS)
def test_a_training_that_diverges_does_not_win(method: str) -> None:
    made = toy()
    problem = made.problem(share=0.5)

    def evaluate(module: nn.Module) -> float:
        assert isinstance(module, Widths)
        return float("nan") if module.widths[1] < 40 else made.evaluate(module)

    outcome = found(made, method, dataclasses.replace(problem, evaluate=evaluate))
    assert math.isfinite(outcome.score)
    assert outcome.shape[1] >= 40


def test_weights_beside_a_record_that_was_removed_are_another_searchs(tmp_path: Path) -> None:
    record = tmp_path / "search.jsonl"
    first = search(toy().problem(), "netadapt", record=record)
    assert first.trials > 1
    record.unlink()
    made = toy()
    assert search(made.problem(share=0.7), "netadapt", record=record).cost > first.cost
    assert made.evaluated > 1


def test_netadapt_goes_on_with_the_steps_and_seeds_of_the_iteration_where_it_was(tmp_path: Path) -> None:
    def noisy(module: nn.Module) -> None:
        assert isinstance(module, Widths)
        with torch.no_grad():
            module.trained += torch.rand(1)

    def run(made: Toy, record: Path | None = None) -> Any:
        problem = dataclasses.replace(made.problem(), finetune=noisy)
        return search(problem, "netadapt", saving=0.15, decay=0.7, record=record)

    undisturbed, made, file = run(toy()), toy(), tmp_path / "search.jsonl"
    made.stop_after = 9
    with pytest.raises(KeyboardInterrupt):
        run(made, file)
    made.stop_after = None
    resumed = run(made, file)
    assert (resumed.shape, resumed.score) == (undisturbed.shape, undisturbed.score)
    assert resumed.history == undisturbed.history


@pytest.mark.parametrize("cost", [math.nan, math.inf, -1.0])
@pytest.mark.parametrize("method", SETTINGS)
def test_a_cost_that_is_none_is_refused(method: str, cost: float) -> None:
    made = toy()
    with pytest.raises(BadInput, match=f"is {cost}"):
        found(made, method, dataclasses.replace(made.problem(), cost=lambda module: cost))


def test_groups_that_are_none_are_refused() -> None:
    for wrong in ({"channels": 0}, {"channels": 16, "step": 0}, {"channels": 16, "least": 0}):
        with pytest.raises(BadInput, match="=0 is below 1"):
            Group("g0", **wrong)
    module = nn.Sequential(nn.Conv2d(3, 16, 1), nn.Conv2d(16, 4, 1))
    with pytest.raises(BadInput, match=r"GroupInfo(?s:.)*Group\(g.name, g.size\)"):
        dataclasses.replace(toy().problem(), groups=prune.groups(module, torch.zeros(1, 3, 4, 4)))  # type: ignore[arg-type]


@pytest.mark.parametrize("method", SETTINGS)
def test_an_evaluation_that_never_gives_a_number_finds_nothing(method: str) -> None:
    with pytest.raises(BadInput, match="no network that was tried has a score"):
        found(toy(), method, dataclasses.replace(toy().problem(), evaluate=lambda module: math.nan))
