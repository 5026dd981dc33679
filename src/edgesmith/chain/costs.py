"""Costs of modules as a share of the budget: predicted for searches, corrected by what is measured."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgesmith.chain.budget import Limit
from edgesmith.chain.measuring import quantised_stand_in
from edgesmith.chain.work import Work
from edgesmith.compress.counting import macs
from edgesmith.pipeline.latency import size_of

__all__ = ["Costs"]

FLOAT = "f32"


class Costs:
    """The largest of a module's figures over their limits: at most 1 is within the budget.

    Times and sizes are those of the program in the precision that it will have at the end. Searches ask for
    predictions; ``correct`` compares one module's with its program and sets the others right by the same factor (times)
    or difference (sizes, of which predictions know the weights).

    Args:
        limits: those that count here.
    """

    def __init__(self, work: Work, limits: tuple[Limit, ...]) -> None:
        self._work, self._limits = work, limits
        self._predicted = work.predicted()
        self._factor = 1.0
        self._code_kb = 0.0

    @property
    def corrections(self) -> dict[str, float]:
        """What measuring has shown so far, as data."""
        return {"factor": self._factor, "code_kb": self._code_kb}

    def restore(self, corrections: Mapping[str, float]) -> None:
        self._factor, self._code_kb = float(corrections["factor"]), float(corrections["code_kb"])

    def __call__(self, module: Any) -> float:
        """Predicted."""
        return max(self._figure(limit.figure, module) / limit.most for limit in self._limits)

    def measured(self, module: Any) -> float:
        """The same of the compiled program; the corrections follow from it."""
        ratios = []
        with tempfile.TemporaryDirectory(prefix="edgesmith-cost-") as name:
            milliseconds = size_kb = 0.0
            if any(limit.figure != "macs" for limit in self._limits):
                milliseconds, size_kb = self._program(module, Path(name))
                if self._needs("latency_ms"):
                    self._factor = milliseconds / self._predicted(module)
                if self._needs("size_kb"):
                    self._code_kb = size_kb - self._predicted.size(module).weights / 1000
            known = {"latency_ms": milliseconds, "size_kb": size_kb}
            for limit in self._limits:
                value = known.get(limit.figure)
                ratios.append((self._figure(limit.figure, module) if value is None else value) / limit.most)
        return max(ratios)

    def _needs(self, figure: str) -> bool:
        return any(limit.figure == figure for limit in self._limits)

    def _figure(self, figure: str, module: Any) -> float:
        if figure == "macs":
            return float(macs(module, self._work.example))
        if figure == "latency_ms":
            return self._factor * self._predicted(module)
        return self._code_kb + self._predicted.size(module).weights / 1000

    def _program(self, module: Any, folder: Path) -> tuple[float, float]:
        """Milliseconds, in turns with the program that the budget refers to, and kilobytes."""
        work = self._work
        path = folder / "model.onnx"
        work.export(module, path)
        if work.recipe.precision != FLOAT:
            last = next(s for s in reversed(work.recipe.stages) if s.precision)
            path = last.preview(path, work) or quantised_stand_in(path, work.recipe.precision)
        program = work.bench.compiled(path, folder / "program")
        size_kb = size_of(program).nbytes / 1000
        if not self._needs("latency_ms"):
            return 0.0, size_kb
        first = work.before[work.first]
        if first.program is None or first.metrics is None:
            return work.bench.milliseconds({"": (program, path)})[""], size_kb
        taken = work.bench.milliseconds({"first": (first.program, first.onnx), "": (program, path)})
        return first.metrics.latency_ms * taken[""] / taken["first"], size_kb
