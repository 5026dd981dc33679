"""Costs as a share of the budget: of modules, predicted for searches and corrected by what is measured; of programs."""

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

__all__ = ["Costs", "program_figures"]

FLOAT = "f32"
OF_PROGRAMS = ("latency_ms", "size_kb")
"""Figures that compiling decides."""


def program_figures(work: Work, limits: tuple[Limit, ...], model: Path, folder: Path) -> dict[str, float]:
    """Those that have limits, of a model's program: kilobytes; milliseconds, in turns with the program that the budget
    refers to.

    Args:
        folder: of the program.
    """
    wanted = [limit.figure for limit in limits if limit.figure in OF_PROGRAMS]
    if not wanted:
        return {}
    program = work.bench.compiled(model, folder)
    found = {"size_kb": size_of(program).nbytes / 1000}
    if "latency_ms" in wanted:
        first = work.before[work.first]
        if first.program is None or first.metrics is None:
            found["latency_ms"] = work.bench.milliseconds({"": (program, model)})[""]
        else:
            taken = work.bench.milliseconds({"first": (first.program, first.onnx), "": (program, model)})
            found["latency_ms"] = first.metrics.latency_ms * taken[""] / taken["first"]
    return {figure: found[figure] for figure in wanted}


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

    def above(self, module: Any) -> str:
        """The figures that are above their limits, predicted, in their units."""
        found = [(limit, self._figure(limit.figure, module)) for limit in self._limits]
        return ", ".join(f"{lim.text(v)} of {lim.text(lim.most)}" for lim, v in found if v > lim.most)

    def measured(self, module: Any) -> float:
        """The same of the compiled program; the corrections follow from it."""
        with tempfile.TemporaryDirectory(prefix="edgesmith-cost-") as name:
            found = self._of_program(module, Path(name))
        if "latency_ms" in found:
            self._factor = found["latency_ms"] / self._predicted(module)
        if "size_kb" in found:
            self._code_kb = found["size_kb"] - self._predicted.size(module).weights / 1000
        return self(module)

    def _figure(self, figure: str, module: Any) -> float:
        if figure == "macs":
            return float(macs(module, self._work.example))
        if figure == "latency_ms":
            return self._factor * self._predicted(module)
        return self._code_kb + self._predicted.size(module).weights / 1000

    def _of_program(self, module: Any, folder: Path) -> dict[str, float]:
        work = self._work
        if not any(limit.figure in OF_PROGRAMS for limit in self._limits):
            return {}
        path = folder / "model.onnx"
        work.export(module, path)
        if work.recipe.precision != FLOAT:
            last = next(s for s in reversed(work.recipe.stages) if s.precision)
            path = last.preview(path, work) or quantised_stand_in(path, work.recipe.precision)
        return program_figures(work, self._limits, path, folder / "program")
