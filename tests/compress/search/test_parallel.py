"""Candidates that are evaluated together: the same outcome as one after another, and nothing lost or left behind."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from compress.search.toy import Toy, Widths
from edgesmith.compress.search import SEARCHES, Problem, is_parallel, search
from edgesmith.compress.search.optuna_study import front
from edgesmith.errors import BadInput, BudgetMissed

pytestmark = pytest.mark.torch

CHANNELS, WEIGHTS = (32, 64, 64, 48), (60.0, 2.0, 60.0, 2.0)
SETTINGS: dict[str, dict[str, Any]] = {
    "netadapt": {"saving": 0.1},
    "evolution": {"population": 6, "generations": 2},
    "optuna": {"trials": 12, "batch": 4},
}
Workers = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]


def noisy(module: nn.Module) -> None:
    """A training whose outcome hangs on its seed."""
    assert isinstance(module, Widths)
    with torch.no_grad():
        module.trained += torch.rand(1)


def refusing(module: nn.Module, evaluate: Callable[[nn.Module], float], below: int) -> float:
    assert isinstance(module, Widths)
    if module.widths[1] < below:
        raise BudgetMissed(f"{module.widths[1]} channels", where="g1", hint="more")
    return evaluate(module)


def made(toy: Toy) -> Problem:
    return dataclasses.replace(toy.problem(), finetune=noisy)


def found(method: str, problem: Problem, **more: Any) -> Any:
    if method == "optuna":
        pytest.importorskip("optuna", reason="Optuna is not installed (extra 'search')")
    return search(problem, method, **SETTINGS[method], **more)


def backwards(function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
    return map(function, list(items)[::-1])


@pytest.fixture(scope="module")
def processes() -> Iterator[Workers]:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        yield pool.imap_unordered


def test_every_search_that_can_is_tested() -> None:
    assert {name for name in SEARCHES if is_parallel(name)} == set(SETTINGS)


@pytest.mark.parametrize("method", SETTINGS)
def test_processes_find_what_one_after_another_finds(method: str, processes: Workers, tmp_path: Path) -> None:
    alone, together = tmp_path / "alone.jsonl", tmp_path / "together.jsonl"
    expected = found(method, made(Toy(CHANNELS, WEIGHTS)), record=alone)
    here = Toy(CHANNELS, WEIGHTS)
    outcome = found(method, made(here), record=together, parallel=processes)
    assert here.evaluated <= 2, "the rest was evaluated in the processes"
    same_outcome(outcome, expected)
    assert sorted(together.read_text().split("\n")) == sorted(alone.read_text().split("\n"))


@pytest.mark.parametrize("method", SETTINGS)
def test_the_order_in_which_they_arrive_decides_nothing(method: str) -> None:
    expected = found(method, made(Toy(CHANNELS, WEIGHTS)))
    same_outcome(found(method, made(Toy(CHANNELS, WEIGHTS)), parallel=backwards), expected)


def same_outcome(outcome: Any, expected: Any) -> None:
    assert (outcome.shape, outcome.score, outcome.trials) == (expected.shape, expected.score, expected.trials)
    assert outcome.history == expected.history
    assert torch.equal(outcome.module.trained, expected.module.trained)


@pytest.mark.parametrize("method", SETTINGS)
def test_several_are_given_at_a_time_and_none_while_costs_are_taken(method: str) -> None:
    toy = Toy(CHANNELS, WEIGHTS)
    problem, busy, sizes = toy.problem(), threading.Event(), []

    def cost(module: nn.Module) -> float:
        assert not busy.is_set()
        return toy.cost(module)

    def together(function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        given = list(items)
        sizes.append(len(given))
        busy.set()
        with ThreadPoolExecutor(2) as pool:
            yield from pool.map(function, given)
        busy.clear()

    outcome = found(method, dataclasses.replace(problem, cost=cost, finetune=None), parallel=together)
    assert max(sizes) >= 3 and outcome.cost <= problem.budget


@pytest.mark.parametrize("method", SETTINGS)
def test_what_arrived_before_an_interruption_is_not_asked_again(method: str, tmp_path: Path) -> None:
    expected = found(method, made(Toy(CHANNELS, WEIGHTS)))
    file, toy, ended = tmp_path / "search.jsonl", Toy(CHANNELS, WEIGHTS), []

    def stopping(after: int, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        try:
            for item in items:
                if toy.evaluated == after:
                    raise KeyboardInterrupt
                yield function(item)
        finally:
            ended.append(True)

    with pytest.raises(KeyboardInterrupt):
        found(method, made(toy), record=file, parallel=partial(stopping, 6))
    assert ended and sum("score" in json.loads(line) for line in file.read_text().split("\n") if line) == 6
    outcome = found(method, made(toy), record=file, parallel=partial(stopping, -1))
    same_outcome(outcome, expected)
    again = 2 if method == "netadapt" else 1  # what the last evaluation of netadapt's module takes
    assert toy.evaluated <= expected.trials + again


def test_workers_are_ended_where_the_search_fails_between_results(tmp_path: Path) -> None:
    ended = []

    def workers(function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        try:
            yield from map(function, items)
        finally:
            ended.append(True)

    def progress(what: str, done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        found("evolution", made(Toy(CHANNELS, WEIGHTS)), progress=progress, parallel=workers)
    assert ended, caught


@pytest.mark.parametrize("method", SETTINGS)
def test_an_error_of_a_candidate_is_told_as_it_is(method: str, processes: Workers) -> None:
    problem = made(Toy(CHANNELS, WEIGHTS))
    problem = dataclasses.replace(problem, evaluate=partial(refusing, evaluate=problem.evaluate, below=55))
    for parallel in (None, processes):
        with pytest.raises(BudgetMissed, match=r"g1: \d+ channels") as caught:
            found(method, problem, parallel=parallel)
        assert caught.value.hint == "more"


def test_the_front_is_searched_in_batches() -> None:
    pytest.importorskip("optuna")
    settings: dict[str, Any] = {"trials": 20, "population": 5, "batch": 5}
    expected = front(made(Toy(CHANNELS, WEIGHTS)), **settings)
    outcomes = front(made(Toy(CHANNELS, WEIGHTS)), parallel=backwards, **settings)
    assert [(o.shape, o.score) for o in outcomes] == [(o.shape, o.score) for o in expected]


def test_what_cannot_be_evaluated_together_is_refused() -> None:
    problem = made(Toy(CHANNELS, WEIGHTS))
    with pytest.raises(BadInput, match=r"'amc' learns(?s:.)*netadapt"):
        search(problem, "amc", parallel=map)
    for wrong in (lambda function, items: [1], lambda function, items: []):
        with pytest.raises(BadInput, match="gave"):
            search(problem, "netadapt", parallel=wrong)
    pytest.importorskip("optuna")
    with pytest.raises(BadInput, match="batch=0"):
        search(problem, "optuna", batch=0)
