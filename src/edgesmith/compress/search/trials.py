"""Shapes that a search has asked about: each is pruned, costed and evaluated once, also after an interruption.

Scores may be asked for together, and then come from several workers at a time; costs, which may be measured, never do.
Searches are deterministic by their seed. One that is interrupted is run again from its start, and what it had asked is
answered from its file, so that it arrives where it was with the same state.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from torch import nn

from edgesmith.compress.search.candidates import Candidate, Making, Parallel, answers
from edgesmith.compress.search.problem import Found, Problem, Progress, Shape, silent
from edgesmith.errors import BadInput

__all__ = ["Trials"]


class Trials:
    """Costs and scores of shapes.

    Args:
        settings: of the search: method, seed and whatever else decides its course.
        record: file of JSON lines where answers are kept; one of another search raises ``BadInput``.
        progress: told of each evaluated shape.
        parallel: evaluates shapes whose scores are asked for together.

    Attributes:
        resumed: whether the record was there already.
    """

    def __init__(
        self,
        problem: Problem,
        settings: Mapping[str, Any],
        record: str | Path | None = None,
        progress: Progress | None = None,
        parallel: Parallel | None = None,
    ) -> None:
        self.problem, self.method = problem, str(settings["method"])
        self.progress = progress or silent
        self._seed, self._parallel = int(settings["seed"]), parallel
        self._making = Making(problem.module, problem.prune, problem.finetune, problem.evaluate)
        self._costs: dict[Shape, float] = {}
        self._scores: dict[Shape, float] = {}
        self._known_costs: dict[Shape, float] = {}
        self._known_scores: dict[Shape, float] = {}
        self._record = Path(record) if record else None
        self._best: tuple[Shape, nn.Module] | None = None
        self.resumed = False
        if self._record:
            self._open({"search": problem.digest, **settings})

    @property
    def count(self) -> int:
        """Shapes that were evaluated."""
        return len(self._scores)

    def cost(self, shape: Shape) -> float:
        """What the shape's module costs.

        Raises:
            BadInput: no finite number from 0 on.
        """
        if shape not in self._costs:
            if shape not in self._known_costs:
                cost = float(self.problem.cost(self.problem.pruned(shape)))
                if not 0 <= cost < math.inf:
                    raise BadInput(
                        f"the cost of shape {shape} is {cost}",
                        where="search",
                        hint="give a function of a module whose result is a finite number from 0 on",
                    )
                self._known_costs[shape] = cost
                self._write({"shape": shape, "cost": self._known_costs[shape]})
            self._costs[shape] = self._known_costs[shape]
        return self._costs[shape]

    def score(self, shape: Shape) -> float:
        """How good the shape's module is after its short training, which is seeded by the shape."""
        return self.scores([shape])[0]

    def scores(self, shapes: Sequence[Shape], told: Callable[[int], None] | None = None) -> list[float]:
        """Of several shapes, in their order; those that are not known are evaluated together.

        Args:
            told: called with the number of them that are known, whenever one arrives.
        """
        candidates = {s: Candidate(i, self._ratios(s), self._seeded(s)) for i, s in enumerate(dict.fromkeys(shapes))}
        self._asked(candidates, None, told)
        for shape in shapes:
            self._scores[shape] = self._known_scores[shape]
        return [self._scores[shape] for shape in shapes]

    def fittest(
        self, candidates: Mapping[Shape, Candidate], base: nn.Module, told: Callable[[int], None] | None = None
    ) -> tuple[Shape, float, nn.Module]:
        """The best of several candidates, the first of equals, with its score and module; evaluated as by ``scores``.

        The module is trained again where it was evaluated in an earlier process.

        Args:
            base: what they are pruned from.
            told: as of ``scores``.
        """
        self._best = None
        self._asked(candidates, base, told)
        shape = max(candidates, key=lambda s: (self._known_scores[s], -candidates[s].index))
        kept = self._best
        module = kept[1] if kept and kept[0] == shape else self._making.trained(base, candidates[shape])
        return shape, self._known_scores[shape], module

    def _asked(
        self, candidates: Mapping[Shape, Candidate], base: nn.Module | None, told: Callable[[int], None] | None
    ) -> None:
        """Evaluate those that are not known, write each as it arrives, and keep the module of the best."""
        missing = {c.index: s for s, c in candidates.items() if s not in self._known_scores}
        done = len(candidates) - len(missing)
        if not missing:
            if told:
                told(done)
            return
        given = [candidates[s] for s in missing.values()]
        with closing(answers(self._making, base, given, self._parallel)) as arriving:
            for answer in arriving:
                shape = missing[answer.index]
                self._known_scores[shape] = answer.score
                self._write({"shape": shape, "score": answer.score})
                best = self._known_scores[self._best[0]] if self._best else -math.inf
                if answer.score > max(best, *self._scores.values(), -math.inf):
                    self._best = (shape, answer.module)
                done += 1
                if told:
                    told(done)

    def found(self, shape: Shape) -> Found:
        """The outcome; the module is trained again where it was evaluated in an earlier process."""
        problem = self.problem
        score = self.score(shape)
        kept = self._best[1] if self._best and self._best[0] == shape else None
        if kept is None:
            kept = self._making.trained(None, Candidate(0, self._ratios(shape), self._seeded(shape)))
        history = [{"cost": self._costs.get(s, float("nan")), "score": v} for s, v in self._scores.items()]
        ratios = problem.ratios(shape)
        return Found(self.method, ratios, shape, self.cost(shape), score, kept, self.count, history)

    @property
    def best(self) -> Shape:
        """The best within the budget; the cheapest where none is."""
        within = [s for s in self._scores if self.cost(s) <= self.problem.budget]
        if within:
            return max(within, key=lambda s: (self._scores[s], -self.cost(s), s))
        return min(self._scores or [self.problem.smallest], key=self.cost)

    def _ratios(self, shape: Shape) -> dict[str, float]:
        return {name: ratio for name, ratio in self.problem.ratios(shape).items() if ratio > 0}

    def _seeded(self, shape: Shape) -> int:
        return hash((self._seed, *shape)) & 0x7FFFFFFF

    def _open(self, header: Mapping[str, Any]) -> None:
        assert self._record
        own = json.loads(json.dumps(header))
        rows = _rows(self._record)
        if rows and rows[0] != own:
            raise BadInput(
                "holds another search: other groups, budget, seed or settings",
                where=str(self._record),
                hint="name another file, or remove it",
            )
        for row in rows[1:]:
            shape = tuple(int(n) for n in row["shape"])
            if "cost" in row:
                self._known_costs[shape] = float(row["cost"])
            if "score" in row:
                self._known_scores[shape] = float(row["score"])
        self.resumed = bool(rows)
        if not rows:
            self._record.parent.mkdir(parents=True, exist_ok=True)
            self._write(own)

    def _write(self, row: Mapping[str, Any]) -> None:
        if self._record:
            with self._record.open("a") as file:
                file.write("\n" + json.dumps(row))  # also after a line that was cut off


def _rows(file: Path) -> list[dict[str, Any]]:
    """What a file holds; lines that were cut off do not count."""
    found = []
    if file.is_file():
        for line in file.read_text().splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict):
                found.append(row)
    return found
