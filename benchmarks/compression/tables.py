"""Writes results.md from results.json: for every experiment and way, mean and standard deviation over the seeds.

python benchmarks/compression/tables.py
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from experiment import RESULTS

from edgesmith.atomic import write_file

OUTPUT = Path(__file__).with_name("results.md")
INTRODUCTION = """# Compression, measured

Made by `python benchmarks/compression/tables.py` from `results.json`, which the other scripts of this folder fill. Mean
and sample standard deviation over the seeds; accuracies in percent of the test set; seconds on one core of a shared
machine.
"""

Rows = dict[str, dict[str, Any]]


def cell(values: list[Any]) -> str:
    """Mean and deviation of numbers; what else there is, once."""
    if all(isinstance(v, int | float) for v in values):
        digits = 0 if all(isinstance(v, int) or abs(v) >= 1000 for v in values) else 3 if abs(mean(values)) < 10 else 2
        spread = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
        return f"{mean(values):,.{digits}f}{spread}"
    return ", ".join(sorted({str(v) for v in values}))


def table(rows: Rows) -> str:
    """Markdown; the last word of a row's key is its seed."""
    grouped: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for key, row in rows.items():
        grouped[key.rsplit(" ", 1)[0]].append(row)
    columns = list(dict.fromkeys(c for row in rows.values() for c in row))
    lines = ["| | seeds | " + " | ".join(columns) + " |", "|" + "---|" * (len(columns) + 2)]
    for name, group in grouped.items():
        cells = [cell(values) if (values := [r[c] for r in group if c in r]) else "" for c in columns]
        lines.append(f"| {name} | {len(group)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    text = INTRODUCTION
    for data, experiments in json.loads(RESULTS.read_text()).items():
        for experiment, rows in experiments.items():
            text += f"\n## {experiment.replace('_', ' ')}, {data}\n\n{table(rows)}\n"
    write_file(OUTPUT, text.encode())
    print(text)
