"""Puts tables of results.json into docs/compression.md, between ``<!-- table NAME -->`` and ``<!-- end -->``.

python benchmarks/compression/page.py
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from edgesmith.atomic import write_file

FOLDER = Path(__file__).resolve().parent
PAGE = FOLDER.parents[1] / "docs" / "compression.md"
FASHION, HANDS = "fashion_mnist", "sign_language_digits"
MARK = re.compile(r"<!-- table ([\w-]+) -->\n.*?<!-- end -->", re.DOTALL)
NAMES = {
    "resnet-half": "half ResNet",
    "resnet-quarter": "quarter ResNet",
    "resnet": "ResNet",
    "mobilenet": "MobileNet",
    "signs": "SignNet",
}

Rows = Sequence[Mapping[str, Any]]
Column = Callable[[Rows], str]


def of(key: str, digits: int = 2, scale: float = 1.0) -> Column:
    """Mean and sample standard deviation over the seeds."""

    def column(rows: Rows) -> str:
        values = [row[key] * scale for row in rows if key in row]
        if not values:
            return ""
        return f"{mean(values):.{digits}f}" + (f" ± {stdev(values):.{digits}f}" if len(values) > 1 else "")

    return column


def recovered(rows: Rows) -> str:
    """Share of the gap between student and teacher, of the means."""
    teacher, alone, taught = (mean(r[k] for r in rows) for k in ("teacher", "alone", "distilled"))
    return f"{(taught - alone) / (teacher - alone):.0%}" if teacher > alone else ""


def seeds(rows: Rows) -> str:
    return str(len(rows))


def titled(name: str) -> str:
    """A row's name in words: the network, then the way."""
    for key, network in NAMES.items():
        if name == key or name.startswith(f"{key} "):
            name = f"{network}, {name[len(key) + 1 :]}".removesuffix(", ")
            break
    return name.replace("torch-pruning", "Torch-Pruning").replace("taylor", "Taylor")


@dataclass(frozen=True)
class Table:
    """What of the results a table shows.

    Args:
        columns: by title.
        beside: another experiment, whose rows of the same names are added.
    """

    data: str
    experiment: str
    columns: Mapping[str, Column]
    beside: str = ""
    only: str = ".*"

    def text(self, results: Mapping[str, Any]) -> str:
        lines = ["| | " + " | ".join(self.columns) + " |", "|" + "---|" * (len(self.columns) + 1)]
        for name, rows in self._rows(results).items():
            lines.append(f"| {titled(name)} | " + " | ".join(column(rows) for column in self.columns.values()) + " |")
        return "\n".join(lines)

    def _rows(self, results: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
        """By name without the seed; networks in the order of ``NAMES``, then by name."""
        found: dict[str, list[dict[str, Any]]] = defaultdict(list)
        own, others = (results.get(self.data, {}).get(e, {}) for e in (self.experiment, self.beside))
        for key in sorted(own, key=_place):
            name = key.rpartition(" ")[0]
            if re.fullmatch(self.only, name):
                found[name].append({**own[key], **others.get(key, {})})
        return found


def _place(key: str) -> tuple[int, str]:
    return next((i for i, name in enumerate(NAMES) if key.startswith(f"{name} ")), len(NAMES)), key


def _before_after(results: Mapping[str, Any]) -> str:
    """The chain."""
    rows = list(results[FASHION]["chain"].values())
    figures = (
        ("top-1, %", "top1", 2, 1.0),
        ("multiply-adds, M", "MACs", 2, 1e-6),
        ("ms", "ms", 4, 1.0),
        ("kB, code and weights", "kB", 0, 1.0),
    )
    lines = ["| | before | after |", "|---|---|---|"]
    for title, key, digits, scale in figures:
        before, after = (of(f"{key} {when}", digits, scale)(rows) for when in ("before", "after"))
        lines.append(f"| {title} | {before} | {after} |")
    lost, faster = of("points lost")(rows), of("times as fast")(rows)
    return "\n".join([*lines, "", f"{lost} points lost, {faster} times as fast, {len(rows)} seeds."])


def _criteria(results: Mapping[str, Any]) -> str:
    """Both data sets beside each other."""
    found: dict[str, dict[str, list[Mapping[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for data in (FASHION, HANDS):
        for key, row in results[data]["criteria"].items():
            found[key.rpartition(" ")[0].removeprefix("resnet stepwise ")][data].append(row)
    ordered = sorted(found, key=lambda name: -mean(r["pruned"] for r in found[name][FASHION]))
    lines = ["| | Fashion-MNIST, % | digits, % |", "|---|---|---|"]
    lines += [f"| `{n}` | {of('pruned', 1)(found[n][FASHION])} | {of('pruned', 1)(found[n][HANDS])} |" for n in ordered]
    return "\n".join(lines)


PRUNED = {
    "seeds": seeds,
    "multiply-adds left": of("MACs left", 3),
    "before fine-tuning, %": of("pruned", 1),
    "after, %": of("fine-tuned"),
}
LESSONS = {
    "seeds": seeds,
    "teacher, %": of("teacher"),
    "alone, %": of("alone"),
    "taught, %": of("distilled"),
    "recovered": recovered,
}
TABLES: dict[str, Table | Callable[[Mapping[str, Any]], str]] = {
    "pruning": Table(
        FASHION,
        "pruning",
        {**PRUNED, "times as fast": of("times as fast"), "of the MAC ratio": of("of the MAC ratio")},
        beside="speed",
        only="(resnet|mobilenet) (torch-pruning( global)?|stepwise taylor(, multiples of 16)?)",
    ),
    "criteria": _criteria,
    "ways": Table(
        HANDS,
        "pruning",
        PRUNED,
        only="resnet (torch-pruning.*|at once.*|gradual.*|BN L1.*|group lasso.*|stepwise taylor.*)",
    ),
    "search": Table(
        FASHION,
        "search",
        {
            "networks tried": of("evaluated", 0),
            "of the predicted time": of("of the time"),
            "multiply-adds left": of("MACs left"),
            "found, %": of("found", 1),
            "fine-tuned, %": of("fine-tuned"),
        },
    ),
    "zeros": Table(
        HANDS,
        "zeros",
        {"seeds": seeds, "weights left": of("left"), "float, %": of("float"), "trained, %": of("trained")},
    ),
    "low-rank": Table(
        FASHION,
        "low rank",
        {
            "seeds": seeds,
            "multiply-adds left": of("MACs left", 3),
            "from weights alone, %": of("weights alone"),
            "with data, %": of("with data"),
            "fine-tuned, %": of("fine-tuned"),
        },
    ),
    "distillation": Table(FASHION, "distillation", LESSONS, only="resnet-half .*"),
    "lessons": Table(HANDS, "distillation", LESSONS),
    "embeddings": Table(
        FASHION, "embeddings", {"seeds": seeds, "teacher, %": of("teacher"), "student, %": of("student")}
    ),
    "integers": Table(
        FASHION,
        "quantisation",
        {"seeds": seeds, "float, %": of("float"), "direct, %": of("direct"), "trained, %": of("trained")},
    ),
    "quantisers": Table(HANDS, "quantisation-aware training", {"seeds": seeds, "trained, %": of("module")}),
    "budgets": Table(FASHION, "latency budget", {"seeds": seeds, "measured, of the budget": of("of the budget", 3)}),
    "chain": _before_after,
}


def filled(page: str, results: Mapping[str, Any]) -> str:
    """The page with its tables made anew."""

    def table(match: re.Match[str]) -> str:
        made = TABLES[match[1]]
        text = made.text(results) if isinstance(made, Table) else made(results)
        return f"<!-- table {match[1]} -->\n\n{text}\n\n<!-- end -->"

    return MARK.sub(table, page)


if __name__ == "__main__":
    written = filled(PAGE.read_text(), json.loads((FOLDER / "results.json").read_text()))
    write_file(PAGE, written.encode())
