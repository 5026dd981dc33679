"""The chain: stage after stage, each kept when it is finished, measured, and told."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from edgesmith.atomic import write_file
from edgesmith.chain.data import Data
from edgesmith.chain.exporting import PICTURES, exported
from edgesmith.chain.learning import KEPT
from edgesmith.chain.measuring import Bench, Figures
from edgesmith.chain.metrics import Metrics
from edgesmith.chain.models import built, outputs
from edgesmith.chain.models import digest as model_digest
from edgesmith.chain.recipe import ModelSpec, OptimizeRecipe
from edgesmith.chain.stage import Outcome, Stage
from edgesmith.chain.store import MODEL, STATE, Store, digest_of, source_digest
from edgesmith.chain.work import Before, Work
from edgesmith.compress.counting import parameters
from edgesmith.compress.state import load_state, save_state
from edgesmith.compress.training import usable
from edgesmith.device import Artifact
from edgesmith.errors import BadInput, BudgetMissed
from edgesmith.report.units import in_ms
from edgesmith.target import parse, runs_here, this_processor

__all__ = ["Chain", "Planned", "Point", "Say", "leading"]

Progress = Callable[[str, int, int], None]
Say = Callable[[str], None]
PROGRAM, FIGURES = "program", "figures.json"


@dataclass(frozen=True)
class Planned:
    """A stage that is to be run.

    Args:
        state: ``cached``, ``begun``, or empty.
    """

    title: str
    what: str
    folder: Path
    state: str


@dataclass(frozen=True)
class Point:
    """The network after a stage.

    Args:
        index: of the stage, 0 for the model itself.
        digest: of all that made it.
        shapes: of the stages up to here, with what ``Stage.rebuilt`` needs.
        record: what the stage wrote down.
        cached: whether it was there before.
    """

    index: int
    title: str
    folder: Path
    digest: str
    shapes: tuple[tuple[Stage, Mapping[str, Any]], ...]
    record: Mapping[str, Any]
    cached: bool
    program: Artifact | None = None
    metrics: Metrics | None = None

    @property
    def onnx(self) -> Path:
        return self.folder / MODEL

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(map(str, self.record.get("notes", ())))

    @property
    def epochs(self) -> float:
        return float(self.record.get("epochs", 0.0))


@dataclass
class Chain:
    """Runs a recipe's stages; every one that is finished stays, so that the same recipe goes on where it was stopped.

    Args:
        progress: told about work within a stage.
        say: told what begins and what came out, a line at a time.
        shown: whether training shows its own progress.
        device: of PyTorch, where networks are trained; it decides nothing about what is cached.
    """

    recipe: OptimizeRecipe
    progress: Progress
    say: Say
    shown: bool = True
    device: str = "cpu"
    skipped: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.data = Data(self.recipe)
        self.bench = Bench(self.recipe.target, self.progress)
        self._store = Store(self.recipe.output)
        self._first = leading(self.recipe.stages)

    def plan(self) -> list[Planned]:
        """What ``run`` would do; data and models are read, nothing is trained or written."""
        self._check()
        found, digest = [], self._model_digest()
        limits = {k: v for k, v in asdict(self.recipe.budget).items() if v is not None and k != "accuracy_drop"}
        budget = ", ".join(f"{k} {v}" for k, v in limits.items())
        for i, stage in enumerate(self.recipe.stages, 1):
            digest = self._digest(stage, digest)
            place = self._store.place(i, stage.method, digest)
            begun = place.with_name(f"{place.name}.part").is_dir()
            state = "cached" if self._store.record(place) else "begun" if begun else ""
            what = stage.planned(budget) + (" (if needed)" if stage.if_needed else "")
            found.append(Planned(f"{i} {stage.method}", what, place, state))
        return found

    def run(self) -> list[Point]:
        """The model and the points after the stages, measured; those that were not needed are left out.

        Raises:
            BudgetMissed: a stage cannot reach the budget; the message names it.
            EdgesmithError: whatever a stage raises.
        """
        self._check()
        with self._store.alone():
            return self._run()

    def _run(self) -> list[Point]:
        points = [self._model_point()]
        if self._first == 0 or self.recipe.model.checkpoint:
            points[0] = self._measured(points[0], points)
        for i, stage in enumerate(self.recipe.stages, 1):
            title = f"{i} {stage.method}"
            first = points[self._reference(points)].metrics
            here = points[-1].metrics
            if stage.if_needed and first and here and self.recipe.budget.met(here, first):
                self.skipped.append(f"{title}: the budget is met")
                self.say(f"{title}: not needed, the budget is met")
                continue
            point = self._made(i, stage, title, points)
            points.append(self._measured(point, points))
        return points

    def work(self, folder: Path) -> Work:
        """What stages work with, before any of them."""
        return self._work(folder, ())

    def _made(self, index: int, stage: Stage, title: str, points: Sequence[Point]) -> Point:
        digest = self._digest(stage, points[-1].digest)
        place = self._store.place(index, stage.method, digest)
        record = self._store.record(place)
        cached = record is not None
        if record is None:
            part = self._store.begun(place)
            again = any(part.iterdir())
            self.say(f"{title}: {'goes on' if again else 'begins'}")
            started = time.monotonic()
            work = self._work(part, points)
            try:
                outcome = stage.run(work)
            except BudgetMissed as error:
                raise BudgetMissed(error.why, where=f"stage {title}", hint=error.hint) from error
            record = self._written(work, part, outcome, stage, digest, time.monotonic() - started)
            self._store.finish(part, place, record)
            (place / KEPT / "checkpoint.pt").unlink(missing_ok=True)
        shapes = (*points[-1].shapes, (stage, record.get("shape", {})))
        return Point(index, title, place, digest, shapes, record, cached)

    def _written(
        self, work: Work, part: Path, outcome: Outcome, stage: Stage | None, digest: str, seconds: float
    ) -> dict[str, Any]:
        """The stage's files; gives its record."""
        self.progress("export", 0, 1)
        count = None
        if outcome.module is not None:
            save_state(outcome.module, part / STATE)
            exported(outcome.module, self.data.calibration_batches[0][:PICTURES], part / MODEL)
            count = parameters(outcome.module)
        elif outcome.onnx and outcome.onnx != part / MODEL:
            outcome.onnx.rename(part / MODEL)
        self.progress("export", 1, 1)
        return {
            "method": stage.method if stage else "model",
            "parameters": stage.parameters if stage else {},
            "digest": digest,
            "shape": dict(outcome.shape),
            "epochs": outcome.epochs,
            "notes": list(outcome.notes),
            "seconds": round(seconds, 1),
            "count": count,
        }

    def _model_point(self) -> Point:
        digest = self._model_digest()
        place = self._store.place(0, "model", digest)
        record = self._store.record(place)
        cached = record is not None
        if record is None:
            part = self._store.begun(place)
            module = self._built()
            work = self._work(part, ())
            record = self._written(work, part, Outcome(module), None, digest, 0.0)
            self._store.finish(part, place, record)
        return Point(0, "model", place, digest, (), record, cached)

    def _check(self) -> None:
        """Find out before hours of training whether pictures, models and the device can be had, and fit together."""
        usable(self.device)
        self.data.check()
        own = self._outputs(self.recipe.model)
        for teacher in (m for s in self.recipe.stages for m in s.models):
            if (its := self._outputs(teacher)) != own:
                why = f"the teacher tells {its} classes apart, the network that it teaches {own}"
                raise BadInput(why, where=teacher.label, hint="build both for the same classes")
        for stock in self.recipe.stock_models:
            self._outputs(stock)

    def _outputs(self, spec: ModelSpec) -> int:
        return outputs(self._built(spec), spec, self.data.example, self.data.classes)

    def _built(self, spec: ModelSpec | None = None) -> Any:
        recipe = self.recipe
        return built(spec or recipe.model, recipe.path, self.data.classes, self.data.size, recipe.seed)

    def _loaded(self, point: Point) -> Any:
        """A point's module: built, brought to its shapes, filled with its weights."""
        module = self._built()
        work = self._work(point.folder, ())
        for stage, shape in point.shapes:
            if shape:
                module = stage.rebuilt(module, shape, work)
        load_state(module, point.folder / STATE)
        return module

    def _work(self, folder: Path, points: Sequence[Point]) -> Work:
        before = [
            Before(p.index, p.title, lambda p=p: self._loaded(p), p.onnx, p.program, p.metrics)  # type: ignore[misc]
            for p in points
        ]
        first = self._reference(points)
        metrics = points[first].metrics if points else None
        limits = self.recipe.budget.limits(metrics) if metrics else ()
        said = (self.progress, self.shown)
        return Work(self.recipe, self.data, self.bench, folder, before, first, limits, *said, self.device)

    def _measured(self, point: Point, points: Sequence[Point]) -> Point:
        """A point with its program and figures; its time is taken in turns with the first point's."""
        program = self.bench.compiled(point.onnx, point.folder / PROGRAM)
        figures = self._figures(point, program)
        first = points[self._reference(points)] if point.index > self._first else point
        if first.program is None or first.metrics is None or first.index == point.index:
            milliseconds = self.bench.milliseconds({"": (program, point.onnx)})[""]
        else:
            found = self.bench.milliseconds({"first": (first.program, first.onnx), "": (program, point.onnx)})
            milliseconds = first.metrics.latency_ms * found[""] / found["first"]
        count = point.record.get("count")
        if count is None and points:
            known = points[-1].metrics
            count = known.parameters if known else 0
        metrics = self.bench.metrics(figures, milliseconds, int(count or 0))
        self.say(
            f"{point.title}: {metrics.accuracy:.2f} %, {in_ms(metrics.latency_ms)}, {metrics.size_kb:.1f} kB"
            + (" (cached)" if point.cached else "")
        )
        return replace(point, program=program, metrics=metrics)

    def _figures(self, point: Point, program: Artifact) -> Figures:
        """Kept for the same program and data."""
        file = point.folder / FIGURES
        key = digest_of(program.manifest["build"], program.manifest["lock"], self.data.test_digest)
        try:
            known = json.loads(file.read_text())
            if known.pop("key") == key:
                return Figures(**known)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            pass
        found = self.bench.figures(program, point.onnx, self.data)
        write_file(file, json.dumps({"key": key, **asdict(found)}).encode())
        return found

    def _reference(self, points: Sequence[Point]) -> int:
        """Place of the network before anything was taken away from it; stages before that may have been left out."""
        return max((i for i, p in enumerate(points) if p.index <= self._first), default=0)

    def _model_digest(self) -> str:
        recipe = self.recipe
        return digest_of(model_digest(recipe.model, recipe.path), self.data.digest, recipe.seed, source_digest())

    def _digest(self, stage: Stage, before: str) -> str:
        recipe = self.recipe
        own = {k: v for k, v in stage.parameters.items() if k != "if_needed"}
        what: list[Any] = [stage.method, own, before, *stage.depends(recipe.path)]
        target = parse(recipe.target.name)
        if stage.uses_target:
            what += [recipe.target.name, str(target), recipe.target.threads, recipe.precision]
        if stage.uses_budget:
            here = runs_here(target) and not recipe.target.on
            processor = this_processor().name if here and recipe.budget.latency_ms is not None else ""
            last = next((s.of_preview for s in reversed(recipe.stages) if s.precision), {})
            what += [{**asdict(recipe.budget), "accuracy_drop": None}, asdict(recipe.target), processor, last]
        return digest_of(what)


def leading(stages: Sequence[Stage]) -> int:
    """How many stages there are before the first that takes something away from the network."""
    for i, stage in enumerate(stages):
        if stage.compresses:
            return i
    return len(stages)
