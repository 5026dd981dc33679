"""Ratios by Optuna's samplers: TPE, CMA-ES, random; and by NSGA-II the front between cost and accuracy.

T. Akiba, S. Sano, T. Yanase, T. Ohta and M. Koyama, "Optuna: a next-generation hyperparameter optimization framework",
KDD 2019, arXiv:1907.10902. K. Deb, A. Pratap, S. Agarwal and T. Meyarivan, "A fast and elitist multiobjective genetic
algorithm: NSGA-II", IEEE Transactions on Evolutionary Computation 6(2), 2002.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgesmith.compress.search.candidates import Parallel
from edgesmith.compress.search.fitting import fit, needs_pruning, settled, uniform
from edgesmith.compress.search.methods import search_method
from edgesmith.compress.search.problem import Found, Problem, Progress, Shape
from edgesmith.compress.search.trials import Trials
from edgesmith.errors import BadInput, MissingDependency

__all__ = ["front", "optuna_search"]

SAMPLERS = ("tpe", "cma", "random")


@search_method("optuna")
def optuna_search(
    problem: Problem,
    *,
    seed: int = 0,
    record: str | Path | None = None,
    progress: Progress | None = None,
    parallel: Parallel | None = None,
    sampler: str = "tpe",
    trials: int = 100,
    batch: int = 1,
    storage: str | None = None,
    study: str = "edgesmith",
) -> Found:
    """The best of some trials, each of them brought onto the budget before it is evaluated.

    Args:
        parallel: evaluates the trials of a batch.
        sampler: one of ``SAMPLERS``; ``cma`` needs the package ``cmaes``.
        trials: in all, those of other processes and of earlier runs included where there is a storage.
        batch: trials that are asked for before any of them is evaluated: as many can be so at once, and the sampler
            knows as many fewer.
        storage: of Optuna, such as ``sqlite:///study.db``: several processes with seeds of their own share the study's
            trials, and the course then depends on which of them was faster.
        study: its name there.

    Raises:
        BudgetMissed: no shape is within the budget.
        BadInput: no such sampler, a batch of none, or the record is another search's.
        MissingDependency: Optuna (extra ``search``) is not installed.
    """
    optuna = _optuna()
    own = {"sampler": sampler, "trials": trials, **_batch(batch)}
    asked = Trials(problem, {"method": "optuna", "seed": seed, **own}, record, progress, parallel)
    if not needs_pruning(asked):
        return asked.found(problem.whole)
    chosen = _sampler(optuna, sampler, seed)
    made = optuna.create_study(
        storage=storage, study_name=study, sampler=chosen, direction="maximize", load_if_exists=True
    )
    if not made.trials:
        made.enqueue_trial(problem.ratios(uniform(asked)))

    def onto_budget(ratios: list[float]) -> Shape:
        return fit(asked, ratios, grow=False)

    _run(optuna, made, asked, onto_budget, lambda shape: asked.score(shape), trials, batch)
    if storage:  # what other processes found counts, too
        best = max((t for t in made.trials if t.value is not None), key=lambda t: (t.value, -t.number))
        asked.score(tuple(best.user_attrs["shape"]))
    return asked.found(settled(asked))


def front(
    problem: Problem,
    *,
    seed: int = 0,
    record: str | Path | None = None,
    progress: Progress | None = None,
    parallel: Parallel | None = None,
    trials: int = 100,
    batch: int = 1,
    population: int = 20,
    storage: str | None = None,
    study: str = "edgesmith-front",
) -> list[Found]:
    """Shapes of which none is both cheaper and better than another, cheapest first, by NSGA-II; the budget is no limit.

    Arguments and errors as of ``optuna_search``.
    """
    optuna = _optuna()
    own = {"trials": trials, "population": population, **_batch(batch)}
    asked = Trials(problem, {"method": "nsga2", "seed": seed, **own}, record, progress, parallel)
    sampler = optuna.samplers.NSGAIISampler(seed=seed, population_size=population)
    made = optuna.create_study(
        storage=storage, study_name=study, sampler=sampler, directions=["minimize", "maximize"], load_if_exists=True
    )

    _run(optuna, made, asked, problem.shape, lambda shape: (asked.cost(shape), asked.score(shape)), trials, batch)
    shapes: dict[Shape, None] = dict.fromkeys(tuple(t.user_attrs["shape"]) for t in made.best_trials)
    return [asked.found(s) for s in sorted(shapes, key=asked.cost)]


def _run(
    optuna: Any,
    study: Any,
    asked: Trials,
    shaped: Callable[[list[float]], Shape],
    values: Callable[[Shape], Any],
    trials: int,
    batch: int,
) -> None:
    """Trials until the study has so many.

    Args:
        shaped: the shape of a trial's ratios.
        values: what the study is told of a shape, whose score is known.
    """
    states = optuna.trial.TrialState

    def done() -> int:
        return len(study.get_trials(deepcopy=False, states=(states.COMPLETE,)))

    while (before := done()) < trials:
        open_trials = [study.ask() for _ in range(min(batch, trials - before))]
        try:
            shapes = [shaped(_suggested(trial, asked.problem)) for trial in open_trials]
            asked.scores(shapes)
            for shape in shapes:
                trial = open_trials[0]
                trial.set_user_attr("shape", list(shape))
                study.tell(trial, values(shape))
                del open_trials[0]
        finally:
            for trial in open_trials:
                study.tell(trial, state=states.FAIL)
        asked.progress("optuna: trials", done(), trials)


def _batch(size: int) -> dict[str, int]:
    """As a setting of the search; single trials are what records without it hold."""
    if size < 1:
        raise BadInput(f"batch={size} is below 1", where="optuna", hint="such as batch=8")
    return {"batch": size} if size > 1 else {}


def _suggested(trial: Any, problem: Problem) -> list[float]:
    return [trial.suggest_float(g.name, 0.0, problem.most) for g in problem.groups]


def _sampler(optuna: Any, name: str, seed: int) -> Any:
    if name == "tpe":
        return optuna.samplers.TPESampler(seed=seed, multivariate=True)
    if name == "cma":
        try:
            importlib.import_module("cmaes")
        except ImportError as error:
            raise MissingDependency(
                "cmaes is not installed", where="optuna sampler 'cma'", hint="pip install edgesmith[search]"
            ) from error
        return optuna.samplers.CmaEsSampler(seed=seed)
    if name == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    raise BadInput(f"{name!r} is not one of {', '.join(SAMPLERS)}", where="optuna sampler")


def _optuna() -> Any:
    try:
        optuna = importlib.import_module("optuna")
    except ImportError as error:
        hint = "pip install edgesmith[search]"
        raise MissingDependency("Optuna is not installed", where="search", hint=hint) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
