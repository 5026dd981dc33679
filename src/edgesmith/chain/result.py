"""What a run of the chain came to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from edgesmith.atomic import write_file
from edgesmith.chain.compare import stock
from edgesmith.chain.metrics import Metrics
from edgesmith.chain.recipe import OptimizeRecipe
from edgesmith.chain.run import Chain, Point, leading
from edgesmith.device import Artifact
from edgesmith.device.settings import PREPROCESS, keep
from edgesmith.preprocess import Preprocess

__all__ = ["LABELS", "STOCK", "TIMES", "Result", "Row", "Verdict", "optimized"]

ARTIFACT, LABELS, TIMES = "artifact", "labels.txt", "times.json"
STOCK = "stock"
GUESSING = 1.5
"""So many times as often right as a guess: knows next to nothing."""


@dataclass(frozen=True)
class Row:
    """A line of the report.

    Args:
        kind: ``stage``, or ``stock`` for the model beside it.
        epochs: passes over the training pictures that its weights took, those of stages before included.
    """

    kind: str
    title: str
    metrics: Metrics
    notes: tuple[str, ...] = ()
    epochs: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "title": self.title,
            **self.metrics.to_json(),
            "epochs": self.epochs,
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class Verdict:
    """One limit of the budget.

    Args:
        text: what was reached, and which stage fell short.
    """

    met: bool
    text: str


@dataclass(frozen=True)
class Result:
    """Rows in the order of stages, measured together; the stock model last, where there is one.

    Args:
        first: place of the row that shares of the budget and losses refer to.
        verdicts: of the budget's limits.
        artifact: the verified program.
        preprocess: how pictures become its inputs, which the artifact knows as well; None where the data are no
            pictures.
        other_work: share of this machine's processors that other programs took while times were taken, from 0 to 1;
            None: not known, or of no matter.
    """

    recipe: OptimizeRecipe
    rows: tuple[Row, ...]
    first: int
    verdicts: tuple[Verdict, ...]
    skipped: tuple[str, ...]
    artifact: Artifact
    preprocess: Preprocess | None = None
    other_work: float | None = None

    @property
    def stages(self) -> tuple[Row, ...]:
        return tuple(r for r in self.rows if r.kind != STOCK)

    @property
    def stock(self) -> Row | None:
        return next((r for r in self.rows if r.kind == STOCK), None)

    @property
    def front(self) -> tuple[Row, ...]:
        """The Pareto front: rows than which none is as fast and as accurate, and better in one of them."""
        points = [(-r.metrics.latency_ms, r.metrics.accuracy) for r in self.rows]
        return tuple(
            row
            for row, (fast, right) in zip(self.rows, points, strict=True)
            if not any(f >= fast and a >= right and (f, a) != (fast, right) for f, a in points)
        )

    @property
    def met(self) -> bool:
        return all(v.met for v in self.verdicts)

    def to_json(self) -> dict[str, Any]:
        return {
            "recipe": self.recipe.name,
            "rows": [r.to_json() for r in self.rows],
            "first": self.first,
            "front": [r.title for r in self.front],
            "budget": [vars(v) for v in self.verdicts],
            "skipped": list(self.skipped),
            "artifact": str(self.artifact.path),
            "other_work": self.other_work,
            "preprocess": self.preprocess.to_json() if self.preprocess else None,
        }


def optimized(chain: Chain) -> Result:
    """Run the chain, put the stock model beside it, measure all programs together, and verify the last one.

    Raises:
        VerificationFailed: the final program differs from its model.
        EdgesmithError: whatever a stage raises.
    """
    points = chain.run()
    beside = stock(chain, points)
    final = points[-1]
    output = chain.recipe.output
    artifact = chain.bench.compiled(final.onnx, output / ARTIFACT, verify=True)
    preprocess = chain.data.preprocess
    keep(artifact.path, PREPROCESS, preprocess.to_json() if preprocess else None)
    write_file(output / LABELS, "".join(f"{name}\n" for name in chain.data.class_names).encode())
    shown = [p for p in points if p.metrics is not None]
    start = max((i for i, p in enumerate(shown) if p.index <= leading(chain.recipe.stages)), default=0)
    titled = [(p.title, p) for p in shown]
    spent = {p.index: sum(q.epochs for q in points[: i + 1]) for i, p in enumerate(points)}
    if beside:
        titled.append((f"{STOCK} {beside.spec.label}", beside.point))
    programs = {title: (p.program, p.onnx) for title, p in titled if p.program is not None}
    times = chain.bench.kept_times(output / TIMES, programs)
    rows = tuple(
        Row(
            STOCK if beside and p is beside.point else "stage",
            title,
            replace(p.metrics, latency_ms=times.milliseconds[title]),
            (*p.notes, *_guessing(p, shown[start], chain.data.classes)),
            beside.epochs if beside and p is beside.point else spent[p.index],
        )
        for title, p in titled
        if p.metrics is not None
    )
    stages = [r for r in rows if r.kind != STOCK]
    verdicts = _verdicts(chain.recipe, stages, start)
    return Result(chain.recipe, rows, start, verdicts, tuple(chain.skipped), artifact, preprocess, times.other_work)


def _guessing(point: Point, first: Point, classes: int) -> tuple[str, ...]:
    """A note about a network to compress that has learned next to nothing."""
    chance = 100.0 / classes
    if point is not first or point.metrics is None or point.metrics.accuracy > GUESSING * chance:
        return ()
    return (f"knows little more than guessing does ({chance:.2f} %): train longer, or check labels and normalisation",)


def _verdicts(recipe: OptimizeRecipe, rows: Sequence[Row], first: int) -> tuple[Verdict, ...]:
    start, last = rows[first].metrics, rows[-1].metrics
    found = []
    for limit in recipe.budget.limits(start):
        ratio = limit.of(last)
        text = f"{limit.figure}: {limit.says(last)}"
        if ratio > 1 and ratio >= limit.of(start):
            text += "; no stage takes any of it away"
        elif ratio > 1:
            aimed = [r.title for r in rows if " prune" in r.title] or [rows[-1].title]
            text += f"; stage {aimed[-1]} fell short by {limit.text((ratio - 1) * limit.most)}"
        found.append(Verdict(ratio <= 1, text))
    allowed = recipe.budget.accuracy_drop
    if allowed is not None:
        lost = start.accuracy - last.accuracy
        change = f"{lost:.2f} points lost" if lost >= 0 else f"{-lost:.2f} points gained"
        text = f"accuracy: {change}, {allowed:g} may be lost"
        steps = [
            (b.metrics.accuracy - a.metrics.accuracy, b.title)
            for a, b in zip(rows[first:], rows[first + 1 :], strict=False)
        ]
        if lost > allowed and steps:
            text += f"; {lost - allowed:.2f} too many, most of them in stage {min(steps)[1]} ({-min(steps)[0]:.2f})"
        found.append(Verdict(lost <= allowed, text))
    return tuple(found)
