"""Evolution of ratios: parents by tournament, crossover, Gaussian mutation; children are brought onto the budget."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgesmith.compress.search.candidates import Parallel
from edgesmith.compress.search.fitting import fit, needs_pruning, settled, uniform
from edgesmith.compress.search.methods import search_method
from edgesmith.compress.search.problem import Found, Problem, Progress, Shape
from edgesmith.compress.search.trials import Trials

__all__ = ["evolution"]


@search_method("evolution")
def evolution(
    problem: Problem,
    *,
    seed: int = 0,
    record: str | Path | None = None,
    progress: Progress | None = None,
    parallel: Parallel | None = None,
    population: int = 16,
    generations: int = 10,
    tournament: int = 3,
    mutation: float = 0.15,
) -> Found:
    """The fittest shape of several generations; the first one holds equal ratios for all groups and random ones.

    Args:
        parallel: evaluates the shapes of a generation.
        population: shapes that live at a time; the fittest of parents and children survive.
        tournament: shapes of which the fittest becomes a parent.
        mutation: standard deviation of what is added to a ratio, one ratio in two.

    Raises:
        BudgetMissed: no shape is within the budget.
        BadInput: the record is another search's.
    """
    own = {"population": population, "generations": generations, "tournament": tournament, "mutation": mutation}
    trials = Trials(problem, {"method": "evolution", "seed": seed, **own}, record, progress, parallel)
    if not needs_pruning(trials):
        return trials.found(problem.whole)
    random = np.random.default_rng(seed)
    size = len(problem.groups)
    total = population * (generations + 1)
    alive: list[Shape] = [uniform(trials)]
    while len(alive) < population:
        alive.append(fit(trials, random.uniform(0, problem.most, size).tolist(), grow=False))
    _evaluated(trials, alive, 0, total)
    for generation in range(1, generations + 1):
        children = []
        for _ in range(population):
            mother, father = (_winner(trials, alive, random, tournament) for _ in range(2))
            genes = np.where(random.random(size) < 0.5, _genes(problem, mother), _genes(problem, father))
            genes = genes + np.where(random.random(size) < 0.5, random.normal(0, mutation, size), 0.0)
            children.append(fit(trials, genes.clip(0, problem.most).tolist(), grow=False))
        _evaluated(trials, children, population * generation, total)
        alive = sorted({*alive, *children}, key=lambda s: (-trials.score(s), s))[:population]
    return trials.found(settled(trials))


def _evaluated(trials: Trials, shapes: Sequence[Shape], before: int, total: int) -> None:
    trials.scores(shapes, lambda done: trials.progress("evolution: children", before + done, total))


def _winner(trials: Trials, alive: list[Shape], random: np.random.Generator, tournament: int) -> Shape:
    drawn = [alive[i] for i in random.integers(len(alive), size=tournament)]
    return max(drawn, key=lambda s: (trials.score(s), s))


def _genes(problem: Problem, shape: Shape) -> np.ndarray:
    return np.array(list(problem.ratios(shape).values()))
