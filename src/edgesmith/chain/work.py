"""What a stage works with."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgesmith import api
from edgesmith.chain.budget import Limit
from edgesmith.chain.data import Data
from edgesmith.chain.measuring import Bench
from edgesmith.chain.metrics import Metrics
from edgesmith.chain.models import built
from edgesmith.chain.recipe import ModelSpec, OptimizeRecipe
from edgesmith.device import Artifact
from edgesmith.frontend.torch import export

__all__ = ["Before", "Work"]

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Before:
    """A point of the chain that is behind.

    Args:
        index: of the stage, 0 for the model.
        title: such as ``2 prune``; ``model`` where nothing was done yet.
        load: gives its module anew.
        onnx: its model.
        program: its compiled artifact; None where it was not measured.
        metrics: None where it was not measured.
    """

    index: int
    title: str
    load: Callable[[], Any]
    onnx: Path
    program: Artifact | None = None
    metrics: Metrics | None = None


@dataclass(frozen=True)
class Work:
    """One stage at work.

    Args:
        folder: of its own; what it keeps there, it finds again after an interruption.
        before: every point behind, the network to work on last.
        first: which of them is the trained model that the budget's shares and the accuracy drop refer to.
        limits: of the costs, from the budget.
        shown: whether training shows its progress.
        device: of PyTorch, where networks are trained; everything else is done on the processor.
    """

    recipe: OptimizeRecipe
    data: Data
    bench: Bench
    folder: Path
    before: Sequence[Before]
    first: int
    limits: tuple[Limit, ...]
    progress: Progress
    shown: bool = True
    device: str = "cpu"
    _loaded: list[Any] = field(default_factory=list, init=False)

    @property
    def module(self) -> Any:
        """The network to work on, which the stage may change."""
        if not self._loaded:
            self._loaded.append(self.before[-1].load())
        return self._loaded[0]

    def after(self, stage: int) -> Before:
        """The point after a stage, or the last one before it where it was left out."""
        return [b for b in self.before if b.index <= stage][-1]

    @property
    def example(self) -> Any:
        return self.data.example

    def build(self, spec: ModelSpec) -> Any:
        """A module that the recipe names, such as a teacher."""
        return built(spec, self.recipe.path, self.data.classes, self.data.size, self.recipe.seed)

    def export(self, module: Any, path: Path) -> None:
        """Write a module as ONNX for one picture."""
        export(copy.deepcopy(module).cpu(), self.example, path, traced=True)

    def predicted(self) -> api.Latency:
        """Milliseconds and bytes of modules in the final program's precision, without compiling."""
        target = self.recipe.target
        return api.latency(
            target.name,
            example=self.example,
            threads=target.threads,
            precision=self.recipe.precision,
            kept=self.folder / "predicted.jsonl",
        )
