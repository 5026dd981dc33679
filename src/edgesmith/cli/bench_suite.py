"""``edgesmith bench --suite``: many networks, one file of results, tables and pictures."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import onnx
import typer

import edgesmith
from edgesmith.bench.environment import environment, processor
from edgesmith.bench.installed import install
from edgesmith.bench.peers import Peer
from edgesmith.bench.record import Record, Result, Settings
from edgesmith.bench.suite import load_suite
from edgesmith.bench.suite_run import measure
from edgesmith.cli.console import console
from edgesmith.cli.progress import Activity, activity
from edgesmith.device import Artifact
from edgesmith.errors import EdgesmithError
from edgesmith.report.suite import line, write_report

__all__ = ["run_suite"]

EXIT_FAILED = 1


class _Bars:
    """Progress bars, and a line for each result."""

    def __init__(self, bars: Activity) -> None:
        self.say, self.pieces, self.whole = bars.say, bars.pieces, bars.whole
        self._print = bars.print
        self.failures = 0

    def finished(self, result: Result) -> None:
        self._print(line(result))

    def failed(self, name: str, error: EdgesmithError) -> None:
        self.failures += 1
        self._print(f"{name}: failed: {error}")


def run_suite(
    name: str,
    networks: Sequence[str],
    peers: Sequence[Peer],
    threads: Sequence[int],
    rounds: int,
    file: Path,
    tune: str,
    budget_seconds: float,
    *,
    fresh: bool,
) -> None:
    """Measure what the file lacks, then write the tables and pictures beside it.

    Raises:
        BadInput: no such suite or network, or the file was measured with other settings.
    """
    whole = load_suite(name)
    suite = whole.only([n for text in networks for n in text.split(",")])
    settings = Settings(
        whole.name, whole.about, whole.per_image, tuple(p.name for p in peers), rounds, tune, processor()
    )
    if fresh:
        file.unlink(missing_ok=True)
    record = Record.open(file, settings, _command(), environment())
    with activity() as bars:

        def build(model: onnx.ModelProto, title: str, folder: Path) -> Artifact:
            return edgesmith.compile(
                model, output=folder, name=title, tune=tune, budget_seconds=budget_seconds, progress=bars.pieces
            )

        listener = _Bars(bars)
        measure(suite, record, install(peers, bars.say), threads, build, listener)
    for written in write_report(record):
        console().print(f"written: {written}")
    if listener.failures:
        raise typer.Exit(EXIT_FAILED)


def _command() -> str:
    """This call, to be given again."""
    return " ".join(["edgesmith", *(a for a in sys.argv[1:] if a != "--fresh")])
