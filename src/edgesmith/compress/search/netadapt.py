"""NetAdapt: the group whose shrinking costs least accuracy for a given saving, again and again.

T.-J. Yang, A. Howard, B. Chen, X. Zhang, A. Go, M. Sandler, V. Sze and H. Adam, "NetAdapt: platform-aware neural
network adaptation for mobile applications", ECCV 2018, arXiv:1804.03230.
"""

from __future__ import annotations

import copy
import io
import json
from pathlib import Path

import torch

from edgesmith.atomic import write_file
from edgesmith.compress.search.candidates import Candidate, Parallel
from edgesmith.compress.search.fitting import needs_pruning
from edgesmith.compress.search.methods import search_method
from edgesmith.compress.search.problem import Found, Group, Problem, Progress, Shape, quality
from edgesmith.compress.search.trials import Trials
from edgesmith.errors import BudgetMissed

__all__ = ["netadapt"]

ENOUGH = 1e-9


@search_method("netadapt")
def netadapt(
    problem: Problem,
    *,
    seed: int = 0,
    record: str | Path | None = None,
    progress: Progress | None = None,
    parallel: Parallel | None = None,
    saving: float = 0.05,
    decay: float = 0.98,
) -> Found:
    """Each iteration lowers the cost by a step: every group alone is shrunk until it saves that much, the candidates
    are trained shortly and evaluated, and the best goes on, with its training.

    Args:
        saving: the first step, as a share of the whole module's cost.
        decay: of the step, from iteration to iteration.
        record: file that keeps costs and scores; the weights that an iteration ended with lie beside it (``.pt``),
            so an interrupted search goes on there. Without the record it starts anew.
        parallel: evaluates the candidates of an iteration.

    Raises:
        BudgetMissed: no shape is within the budget.
        BadInput: the record is another search's.
    """
    settings = {"method": "netadapt", "seed": seed, "saving": saving, "decay": decay}
    trials = Trials(problem, settings, record, progress, parallel)
    if not needs_pruning(trials):
        return trials.found(problem.whole)
    walk = _Walk(problem, trials, Path(f"{record}.pt") if record else None)
    first = trials.cost(problem.whole)
    while trials.cost(walk.shape) > problem.budget:
        here = trials.cost(walk.shape)
        iteration = len(walk.history)
        goal = max(here - first * saving * decay**iteration, problem.budget)
        trials.progress("netadapt: cost", round(1000 * (first - here)), round(1000 * (first - problem.budget)))
        walk.descend(goal, iteration, seed)
    score = quality(problem.evaluate, walk.module)
    shape, cost = walk.shape, trials.cost(walk.shape)
    return Found("netadapt", problem.ratios(shape), shape, cost, score, walk.module, walk.evaluated, walk.history)


class _Walk:
    """The module on its way, with the weights that its short trainings gave it."""

    def __init__(self, problem: Problem, trials: Trials, file: Path | None) -> None:
        self.problem, self.trials, self._file = problem, trials, file
        self.shape, self.module = problem.whole, problem.module
        self.evaluated = 0
        self.history: list[dict[str, float]] = []
        self._steps: list[Shape] = [problem.whole]
        self._saved: list[Shape] = []
        if file and trials.resumed and file.is_file():
            self._load(file)

    def descend(self, goal: float, iteration: int, seed: int) -> None:
        """One iteration; raises ``BudgetMissed`` where no group can save enough, all of them together included."""
        shapes = dict.fromkeys(filter(None, (self._shrunk(i, goal) for i in range(len(self.shape)))))
        if not shapes:
            shapes = {self._all_shrunk(): None}
        first = seed * 100_003 + iteration * 1009
        candidates = {s: Candidate(j, self._from_here(s), first + j) for j, s in enumerate(shapes)}
        title = f"netadapt: iteration {iteration + 1}"
        self.shape, score, self.module = self.trials.fittest(
            candidates, self.module, lambda done: self.trials.progress(title, done, len(candidates))
        )
        self.evaluated += len(candidates)
        self.history.append({"cost": self.trials.cost(self.shape), "score": score})
        self._save()

    def _shrunk(self, index: int, goal: float) -> Shape | None:
        """Group ``index`` with as many channels as reach the goal; None where it cannot."""
        group = self.problem.groups[index]
        kept = [n for n in _choices(group, self.problem.most) if n < self.shape[index]]
        if not kept or self.trials.cost(self._with(index, kept[-1])) > goal + ENOUGH:
            return None
        low, high = 0, len(kept) - 1  # the first that reaches it, as far as the cost falls with the channels
        while low < high:
            middle = (low + high) // 2
            if self.trials.cost(self._with(index, kept[middle])) <= goal + ENOUGH:
                high = middle
            else:
                low = middle + 1
        return self._with(index, kept[high])

    def _with(self, index: int, kept: int) -> Shape:
        return (*self.shape[:index], kept, *self.shape[index + 1 :])

    def _all_shrunk(self) -> Shape:
        """Every group one step smaller."""
        following = tuple(
            next((n for n in _choices(g, self.problem.most) if n < kept), kept)
            for g, kept in zip(self.problem.groups, self.shape, strict=True)
        )
        if following == self.shape:
            raise BudgetMissed(
                f"every group is as small as it may be and costs {self.trials.cost(self.shape):.4g}; "
                f"the budget is {self.problem.budget:.4g}",
                where="netadapt",
                hint="raise the budget or the largest ratio",
            )
        return following

    def _from_here(self, shape: Shape) -> dict[str, float]:
        """Ratios that lead from here to a smaller shape."""
        return {
            g.name: 1.0 - new / old
            for g, new, old in zip(self.problem.groups, shape, self.shape, strict=True)
            if new < old
        }

    def _save(self) -> None:
        self._steps.append(self.shape)
        if self._file:
            part = self._file.with_suffix(".part")
            torch.save(self.module.state_dict(), part)
            rows = {"steps": self._steps, "evaluated": self.evaluated, "history": self.history}
            about = json.dumps(rows).encode()
            write_file(self._file, len(about).to_bytes(8, "little") + about + part.read_bytes())
            part.unlink()

    def _load(self, file: Path) -> None:
        """The way is walked again without training, then the weights are put in."""
        data = file.read_bytes()
        length = int.from_bytes(data[:8], "little")
        rows = json.loads(data[8 : 8 + length])
        for step in rows["steps"][1:]:
            shape = tuple(int(n) for n in step)
            self.module = self.problem.prune(copy.deepcopy(self.module), self._from_here(shape))
            self.shape = shape
            self._steps.append(shape)
        self.evaluated, self.history = int(rows["evaluated"]), list(rows["history"])
        self.module.load_state_dict(torch.load(io.BytesIO(data[8 + length :]), weights_only=True))


def _choices(group: Group, most: float) -> list[int]:
    """Numbers of channels that a group may keep, most first."""
    smallest = group.kept(most)
    inner = range((group.channels - 1) // group.step * group.step, smallest, -group.step)
    return [group.channels, *inner, smallest] if smallest < group.channels else [group.channels]
