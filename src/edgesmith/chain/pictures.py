"""Pictures of a report: accuracy over time, and figures by stage; SVG text."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from edgesmith.chain.result import Result
from edgesmith.errors import MissingDependency

__all__ = ["front", "steps"]

ABOVE, BELOW = 6, -13
"""Points from a stage's place to its name."""
STAR = " *"
"""Behind names of the Pareto front."""
OWN, STOCK, GREY = "#d1495b", "#30638e", "#8d96a3"


def front(result: Result) -> str:
    """Accuracy over milliseconds after every stage, the stock model beside them, and the limits.

    Raises:
        MissingDependency: matplotlib (extra ``report``) is not installed.
    """
    figure, axes = _figure(7.2, 4.4)
    rows, other = result.stages, result.stock
    floor = _floor(result)
    x, y = [r.metrics.latency_ms for r in rows], [max(r.metrics.accuracy, floor) for r in rows]
    axes.plot(x, y, color=OWN, linewidth=1, alpha=0.5, zorder=1)
    axes.scatter(x, y, color=OWN, s=36, zorder=2, label="this chain, after each stage")
    best = {r.title for r in result.front}
    places = list(zip(x, y, strict=True))
    for i, (row, place) in enumerate(zip(rows, places, strict=True)):
        name = row.title + STAR * (row.title in best)
        low = row.metrics.accuracy < floor
        name += f": {row.metrics.accuracy:.1f} %, below the picture" if low else ""
        height = BELOW if _is_near(place, places[:i]) else ABOVE
        axes.annotate(name, place, xytext=(6, height), textcoords="offset points", fontsize=8)
    if other:
        x, y = [other.metrics.latency_ms], [max(other.metrics.accuracy, floor)]
        axes.scatter(x, y, color=STOCK, marker="D", s=44, zorder=2, label=other.title + STAR * (other.title in best))
    first = result.stages[result.first].metrics
    for limit in result.recipe.budget.limits(first):
        if limit.figure == "latency_ms":
            axes.axvline(limit.most, color=GREY, linestyle="--", linewidth=1, label=f"budget {limit.most:.3g} ms")
    if result.recipe.budget.accuracy_drop is not None:
        least = first.accuracy - result.recipe.budget.accuracy_drop
        axes.axhline(least, color=GREY, linestyle=":", linewidth=1, label=f"least accuracy {least:.2f} %")
    axes.set_xlim(left=0)
    axes.margins(x=0.15, y=0.15)
    axes.set_xlabel(f"milliseconds, {first.latency_source}")
    axes.set_ylabel("top-1 accuracy on test pictures, %")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncol=2)
    return _svg(figure)


def _is_near(place: tuple[float, float], others: Sequence[tuple[float, float]]) -> bool:
    """Whether a name above a place would lie on that of another one."""
    xs, ys = zip(place, *others, strict=True)
    width, height = max(xs), max(ys) - min(ys)
    return any(abs(place[0] - x) < width / 4 and abs(place[1] - y) < height / 12 for x, y in others)


def steps(result: Result) -> str:
    """Milliseconds, kilobytes and multiply-adds after each stage, as shares of the trained model's."""
    rows = list(result.rows)
    figure, axes = _figure(7.2, 0.62 * len(rows) + 1.2)
    first = result.stages[result.first].metrics
    kinds = (("latency_ms", "time", OWN), ("size_kb", "size", "#edae49"), ("macs", "MACs", "#00798c"))
    for i, (figure_name, label, colour) in enumerate(kinds):
        whole = float(getattr(first, figure_name)) or 1.0
        shares = [float(getattr(r.metrics, figure_name)) / whole for r in rows]
        places = [j + (i - 1) * 0.26 for j in range(len(rows))]
        axes.barh(places, shares, 0.24, color=colour, label=label)
        for place, share in zip(places, shares, strict=True):
            axes.text(share + 0.01, place, f"{share:.0%}", va="center", fontsize=7)
    axes.set_yticks(range(len(rows)), [r.title for r in rows])
    axes.invert_yaxis()
    axes.set_xlabel(f"share of {result.stages[result.first].title}")
    axes.set_xlim(0, max(1.15, axes.get_xlim()[1]))
    axes.legend(frameon=False, fontsize=8, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncol=3)
    return _svg(figure)


def _floor(result: Result) -> float:
    """The least accuracy that is drawn to scale: what was lost for a while (before fine-tuning) hides what counts."""
    counted = [result.stages[result.first], result.stages[-1], *filter(None, [result.stock])]
    values = [r.metrics.accuracy for r in counted]
    return min(values) - 2 * max(max(values) - min(values), 0.5)


def _figure(width: float, height: float) -> tuple[Any, Any]:
    try:
        import matplotlib
    except ImportError as error:
        raise MissingDependency(
            "matplotlib is not installed", where="report", hint="pip install edgesmith[report]"
        ) from error
    from matplotlib.figure import Figure

    # Equal data give equal bytes: no date, no random identifiers; text stays text.
    matplotlib.rcParams.update({"svg.hashsalt": "edgesmith", "svg.fonttype": "none", "font.size": 9})
    figure = Figure(figsize=(width, height))
    axes = figure.add_subplot()
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def _svg(figure: Any) -> str:
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None}, bbox_inches="tight")
    text = file.getvalue()
    return text[text.index("<svg") :]
