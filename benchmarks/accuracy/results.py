"""What was found for a case and a method: data, and the table made from it."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from edgesmith.atomic import write_file

from .cases import Case, Samples
from .intervals import difference, share

Arrays = Mapping[str, np.ndarray]
Row = dict[str, Any]

COLUMNS = (
    "model",
    "width",
    "method",
    "accuracy (%)",
    "points above float (95 %)",
    "decides as float (%, 95 %)",
    "SQNR (dB)",
    "file (kB)",
)


def judged(case: Case, samples: Samples, found: Arrays, reference: Arrays) -> Row:
    """Compare the outputs of a model with the float model's, sample by sample."""
    ours, floats = (
        [case.judgement.decide({name: a[i] for name, a in outputs.items()}) for i in range(samples.count)]
        for outputs in (found, reference)
    )
    same = np.array([case.judgement.same(a, b) for a, b in zip(ours, floats, strict=True)])
    row: Row = {
        "samples": samples.count,
        "same": share(same, samples.groups).to_json(),
        "sqnr_db": sqnr_db(list(found.values()), list(reference.values())),
    }
    if samples.labels is not None:
        right, right_in_float = (np.asarray(d) == samples.labels for d in (ours, floats))
        row["accuracy"] = share(right, samples.groups).to_json()
        row["difference"] = difference(right, right_in_float, samples.groups).to_json()
    return row


def sqnr_db(found: Sequence[np.ndarray], reference: Sequence[np.ndarray]) -> float | None:
    """Signal to quantisation noise: 10 log10 of the ratio of their energies over all samples; None without noise."""
    signal = sum(float(np.sum(np.square(r, dtype=np.float64))) for r in reference)
    noise = sum(float(np.sum(np.square(f.astype(np.float64) - r))) for f, r in zip(found, reference, strict=True))
    return 10 * float(np.log10(signal / noise)) if noise else None


class Results:
    """The rows in a file, which is replaced as a whole when one is added; several processes may add at once.

    Args:
        path: of the JSON file; the table is the Markdown file beside it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[Row] = []
        self._read()

    def _read(self) -> None:
        if self.path.is_file():
            self.rows = json.loads(self.path.read_text())["rows"]

    def find(self, case: str, method: str, digest: str) -> Row | None:
        """The row of a case and a method, unless it failed or was found with another float model."""
        for row in self.rows:
            if (row["case"], row["method"], row["digest"]) == (case, method, digest) and "failed" not in row:
                return row
        return None

    def add(self, row: Row, facts: Mapping[str, Any], cases: Sequence[str], methods: Sequence[str]) -> None:
        """Put a row in place of the one for the same case and method, and write data and table.

        Rows that another process has written meanwhile stay.

        Args:
            facts: what else stands in the file: the command, the ``methods`` and the ``data`` in words, and more.
            cases, methods: the order of rows; those of others are dropped.
        """
        places = {(c, m): (i, j) for i, c in enumerate(cases) for j, m in enumerate(methods)}
        key = (row["case"], row["method"])
        with _alone(self.path.parent):
            self._read()
            kept = [r for r in self.rows if (r["case"], r["method"]) in places.keys() - {key}]
            self.rows = sorted([*kept, row], key=lambda r: places[r["case"], r["method"]])
            write_file(self.path, (json.dumps({**facts, "rows": self.rows}, indent=1) + "\n").encode())
            write_file(self.path.with_suffix(".md"), table(facts, self.rows).encode())


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """No other process is in such a block for the same folder; the lock goes with the process."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def table(facts: Mapping[str, Any], rows: Sequence[Row]) -> str:
    """The rows as Markdown, with what the columns mean."""
    lines = [f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}", *(_line(r) for r in rows)]
    absent = [f"- {r['case']}, {r['method']}: {r['failed']}" for r in rows if "failed" in r]
    seen = {r["case"] for r in rows} | {r["method"] for r in rows}
    settings, data = (
        [f"- **{name}**: {text}" for name, text in facts[key].items() if name in seen] for key in ("methods", "data")
    )
    parts = [
        f"Made by `{facts['command']}`." + _revisions(rows),
        "\n".join(lines),
        *(["Without a result:\n\n" + "\n".join(absent)] if absent else []),
        EXPLANATION,
        *_layers(rows),
        "Methods:\n\n" + "\n".join(settings),
        "Judged by:\n\n" + "\n".join(data),
    ]
    return "\n\n".join(parts) + "\n"


def _revisions(rows: Sequence[Row]) -> str:
    """Which revision of Edgesmith its own rows are of."""
    methods: dict[str, list[str]] = {}
    for row in rows:
        if "revision" in row:
            methods.setdefault(row["revision"], []).append(f"{row['case']}: {row['method']}")
    most = sorted(methods, key=lambda r: len(methods[r]), reverse=True)
    if not most:
        return ""
    others = [f"{'; '.join(methods[r])} ({r})" for r in most[1:]]
    return f" Edgesmith is revision {most[0]}" + (f", but for {', '.join(others)}" if others else "") + "."


WORST = 5


def _layers(rows: Sequence[Row]) -> list[str]:
    """The least accurate intermediate values of each model and method that tells."""
    told = [r for r in rows if r.get("layers_sqnr_db")]
    if not told:
        return []
    lines = ["| model | width | method | values | mean SQNR (dB) | least |", "|---|---|---|---|---|---|"]
    for r in told:
        found = sorted(r["layers_sqnr_db"].items(), key=lambda item: item[1])
        mean = sum(sqnr for _, sqnr in found) / len(found)
        least = ", ".join(f"`{name}` {sqnr:.1f}" for name, sqnr in found[:WORST])
        lines.append(f"| {r['case']} | {r['width']} | {r['method']} | {len(found)} | {mean:.1f} | {least} |")
    return ["Intermediate values, each with all errors before it, on calibration data:\n\n" + "\n".join(lines)]


EXPLANATION = """\
Differences and agreement are paired: the quantised and the float model see the same samples. Intervals of differences
are Newcombe's method 10 (Statistics in Medicine 17, 1998, 2635-2650), those of shares Wilson's; crops of one photograph
resemble each other, so that their number is divided by the design effect (Kish, 1965). SQNR is that of the model's
outputs (of probabilities where it ends in a softmax), over all samples. For the detector, a picture is decided as in
float when it has as many faces, each overlapping one of the float model's by at least half (intersection over union).
Peers' models run in ONNX Runtime, which computes exactly what the model says (its basic optimisations only: its integer
kernels saturate intermediate sums on processors without VNNI); Edgesmith's run as the compiled program."""


def _line(row: Row) -> str:
    cells = [row["case"], row["width"], row["method"]]
    if "failed" in row:
        return f"| {' | '.join([*cells, 'none', *[''] * (len(COLUMNS) - 4)])} |"
    sqnr = row["sqnr_db"]
    cells += [
        f"{100 * row['accuracy']['value']:.2f}" if "accuracy" in row else "",
        _interval(row["difference"], "+.2f") if "difference" in row else "",
        _interval(row["same"], ".2f"),
        "exact" if sqnr is None else f"{sqnr:.1f}",
        f"{row['bytes'] / 1e3:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def _interval(estimate: Mapping[str, float], form: str) -> str:
    value, low, high = (format(100 * estimate[k], form) for k in ("value", "low", "high"))
    return f"{value} ({low} to {high})"
