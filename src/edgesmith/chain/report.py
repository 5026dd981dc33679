"""The report of a run: Markdown, and one HTML file that needs nothing else."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

from edgesmith.atomic import write_file
from edgesmith.chain.pictures import front, steps
from edgesmith.chain.result import LABELS, STOCK, TIMES, Result, Row
from edgesmith.errors import MissingDependency
from edgesmith.report.units import count, in_ms
from edgesmith.target import parse

__all__ = ["COLUMNS", "cells", "comparison", "inputs", "markdown", "timing", "write"]

BUSY = 0.1
"""Share of the processors' time from which on other programs disturb."""
FAR = 1.25
"""Times of which one is so many times the other are no longer alike."""
COLUMNS = ("stage", "accuracy", "time", "size", "MACs", "parameters")

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 56rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2rem }
table { border-collapse: collapse; width: 100% } th, td { padding: .3rem .6rem; border-bottom: 1px solid #ddd }
td { text-align: right; white-space: nowrap; font-size: .85rem; font-variant-numeric: tabular-nums }
td:first-child, th:first-child { text-align: left; white-space: normal }
th { text-align: right; border-bottom: 2px solid #888 } tr.stock td { color: #30638e } tr.last td { font-weight: 600 }
.met { color: #2a7d2e } .missed { color: #b3261e; font-weight: 600 } svg { max-width: 100%; height: auto }
.say { background: #f4f6f8; border-left: 4px solid #30638e; padding: .6rem 1rem } small { color: #666 }
"""


def write(result: Result, folder: Path) -> list[Path]:
    """Write ``report.md``, ``report.json`` and, where matplotlib is installed, ``report.html``; gives their paths."""
    files = [
        (folder / "report.md", markdown(result)),
        (folder / "report.json", json.dumps(result.to_json(), indent=1) + "\n"),
    ]
    try:
        files.append((folder / "report.html", page(result)))
    except MissingDependency:
        (folder / "report.html").unlink(missing_ok=True)
    for path, text in files:
        write_file(path, text.encode())
    return [path for path, _ in files]


def cells(row: Row, first: Row) -> tuple[str, ...]:
    """A row of the table, with shares of the trained model."""
    own, whole = row.metrics, first.metrics

    def share(value: float, of: float) -> str:
        return f" ({value / of:.0%})" if of and row is not first else ""

    change = f" ({own.accuracy - whole.accuracy:+.2f})" if row is not first else ""
    return (
        row.title,
        f"{own.accuracy:.2f} %{change}",
        f"{in_ms(own.latency_ms)}{share(own.latency_ms, whole.latency_ms)}",
        f"{own.size_kb:.1f} kB{share(own.size_kb, whole.size_kb)}",
        f"{count(own.macs)}{share(own.macs, whole.macs)}",
        count(own.parameters),
    )


def comparison(result: Result) -> str:
    """One sentence: the compressed model beside the stock smaller one."""
    other = result.stock
    if other is None:
        return ""
    own = result.stages[-1].metrics
    gained = own.accuracy - other.metrics.accuracy
    name = other.title.removeprefix(f"{STOCK} ")
    longer = own.latency_ms / other.metrics.latency_ms - 1
    speed = "as fast" if abs(longer) < 0.01 else f"{abs(longer):.1%} {'slower' if longer > 0 else 'faster'}"
    spent = result.stages[-1].epochs
    alike = round(other.epochs) == round(spent)
    trained = "as many epochs" if alike else f"{other.epochs:g} epochs (the stages of the recipe took {spent:g})"
    said = (
        f"The compressed network is {speed} and {abs(gained):.2f} points {'more' if gained >= 0 else 'less'} accurate "
        f"than the stock model ({name}), trained for {trained}: {own.accuracy:.2f} % in "
        f"{in_ms(own.latency_ms)} beside {other.metrics.accuracy:.2f} % in {in_ms(other.metrics.latency_ms)}."
    )
    return said + _far(longer)


def _far(longer: float) -> str:
    """What to do where the stock model is no match in time."""
    if 1 / FAR < 1 + longer < FAR:
        return ""
    return f" The two are far apart in time: name {'wider' if longer > 0 else 'narrower'} stock models in [compare]."


def timing(result: Result) -> str:
    """Where the times come from, and what may have disturbed them."""
    source = result.rows[-1].metrics.latency_source
    told = f"{source}, all programs in turns" if source.startswith("measured") else source
    if (result.other_work or 0.0) < BUSY:
        return told
    return (
        f"{told}, while other programs took {result.other_work:.0%} of the processors, which slows some programs more "
        f"than others: without {TIMES}, the same command measures again"
    )


def inputs(result: Result) -> str:
    """How pictures become the program's inputs, and in which order its outputs are."""
    way = result.preprocess
    if way is None or way.size is None:
        return f"Inputs are arrays as in the data, normalised as in training; outputs are in the order of `{LABELS}`."
    height, width = way.size
    cut = "with the middle cut out" if way.fit == "crop" else "without regard to proportions"
    mean, std = (", ".join(f"{v:.4g}" for v in values) for values in (way.mean, way.std))
    channels = "grey" if len(way.mean) == 1 else "red, green, blue"
    way_of_pictures = (
        f"Pictures are scaled to {height}x{width} {cut}, and become (pixel / 255 - mean) / std ({channels}: "
        f"mean {mean}; std {std}); outputs are in the order of `{LABELS}`."
    )
    if parse(result.recipe.target.name).is_bare:
        return f"{way_of_pictures} The device is to do so before it calls the library."
    return (
        f"{way_of_pictures} `edgesmith run {result.artifact.path} --input picture.jpg "
        f"--labels {result.artifact.path.parent / LABELS}` does so."
    )


def markdown(result: Result) -> str:
    """The report as text."""
    first = result.stages[result.first]
    lines = [f"# {result.recipe.name}: {result.recipe.model.label}", "", _setting(result), ""]
    lines += ["| " + " | ".join(COLUMNS) + " |", "|---" + "|---:" * (len(COLUMNS) - 1) + "|"]
    lines += ["| " + " | ".join(cells(r, first)) + " |" for r in result.rows]
    lines += ["", _front(result)]
    if result.verdicts:
        lines += ["", "## Budget", ""]
        lines += [f"- {'met' if v.met else 'MISSED'}: {v.text}" for v in result.verdicts]
    if result.stock:
        lines += ["", "## Beside the stock model", "", comparison(result)]
    lines += ["", "## Stages", ""]
    lines += [f"- {r.title}: {'; '.join(r.notes)}" for r in result.rows if r.notes]
    lines += [f"- {text}" for text in result.skipped]
    lines += ["", "## The program", "", f"It is in `{result.artifact.path.name}/`, verified. {inputs(result)}"]
    return "\n".join(lines) + "\n"


def page(result: Result) -> str:
    """The report as one HTML file; raises ``MissingDependency`` without matplotlib."""
    pictures = front(result), steps(result)
    first = result.stages[result.first]
    said = html.escape

    def line(row: Row) -> str:
        kind = "stock" if row is result.stock else "last" if row is result.stages[-1] else ""
        return f'<tr class="{kind}">' + "".join(f"<td>{said(c)}</td>" for c in cells(row, first)) + "</tr>"

    head = "".join(f"<th>{c}</th>" for c in COLUMNS)
    parts = [
        f"<h1>{said(result.recipe.name)}: {said(result.recipe.model.label)}</h1><p>{said(_setting(result))}</p>",
        f"<table><tr>{head}</tr>{''.join(map(line, result.rows))}</table><p>{said(_front(result))}</p>",
    ]
    if result.verdicts:
        items = (f'<li class="{"met" if v.met else "missed"}">{said(v.text)}</li>' for v in result.verdicts)
        parts.append(f"<h2>Budget</h2><ul>{''.join(items)}</ul>")
    if result.stock:
        parts.append(f'<h2>Beside the stock model</h2><p class="say">{said(comparison(result))}</p>')
    parts.append(f"<h2>Accuracy and time</h2>{pictures[0]}<p><small>* on the Pareto front</small></p>")
    parts.append(f"<h2>What each stage took away</h2>{pictures[1]}")
    notes = [f"<li>{said(r.title)}: {said('; '.join(r.notes))}</li>" for r in result.rows if r.notes]
    notes += [f"<li>{said(text)}</li>" for text in result.skipped]
    parts.append(f"<h2>Stages</h2><ul>{''.join(notes)}</ul>")
    code = re.sub("`(.*?)`", r"<code>\1</code>", said(inputs(result)))
    parts.append(
        f"<h2>The program</h2><p>It is in <code>{said(result.artifact.path.name)}/</code>, verified. {code}</p>"
    )
    about = f'<meta charset="utf-8"><title>{said(result.recipe.name)}</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{about}</head><body>{"".join(parts)}</body></html>\n'


def _front(result: Result) -> str:
    """Which programs are worth having."""
    names = ", ".join(row.title for row in result.front)
    return f"On the Pareto front, where none is as accurate and faster or as fast and more accurate: {names}."


def _setting(result: Result) -> str:
    target = result.recipe.target
    threads = f"{target.threads} thread{'s' * (target.threads > 1)}"
    return f"For {target.name}, {threads}; times {timing(result)}."
