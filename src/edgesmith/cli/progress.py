"""Progress bars, one a stage, on standard error; nothing, or few lines, where there is no terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from edgesmith.cli.console import error_console

__all__ = ["Activity", "activity", "briefly", "one_bar", "stages"]

SECONDS_BETWEEN_LINES = 30.0


def _bars() -> Progress:
    console = error_console()
    return Progress(
        SpinnerColumn(finished_text="[green]✓[/green]"),
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
    )


@contextmanager
def stages() -> Iterator[Callable[[str, int, int], None]]:
    """A callback (stage, pieces done, pieces in all) that draws a bar for each stage it hears of."""
    bars = _bars()
    tasks: dict[str, TaskID] = {}

    def report(stage: str, done: int, total: int) -> None:
        if stage not in tasks:
            tasks[stage] = bars.add_task(stage, total=total)
        bars.update(tasks[stage], completed=done, total=total)

    with bars:
        yield report


class Activity:
    """A bar for all of the work and one for what is being done at the moment."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._current = bars.add_task("", total=None)
        self._whole: TaskID | None = None

    def say(self, text: str) -> None:
        """What begins."""
        self._bars.reset(self._current, description=text, total=None)

    def pieces(self, text: str, done: int, total: int) -> None:
        """How far the work at the moment is."""
        self._bars.update(self._current, description=text, completed=done, total=total)

    def whole(self, text: str, done: int, total: int) -> None:
        """How far all of the work is."""
        if self._whole is None:
            self._whole = self._bars.add_task(text)
        self._bars.update(self._whole, description=text, completed=done, total=total)

    def print(self, line: str) -> None:
        """A line above the bars, also where there is no terminal."""
        self._bars.console.print(line)


@contextmanager
def activity() -> Iterator[Activity]:
    """Bars for long work of many parts."""
    bars = _bars()
    with bars:
        yield Activity(bars)


@contextmanager
def one_bar(label: str) -> Iterator[Callable[[int, int], None]]:
    """A callback (pieces done, pieces in all) for work of a single stage."""
    with stages() as report:
        yield lambda done, total: report(label, done, total)


@contextmanager
def briefly() -> Iterator[Callable[[str, int, int], None]]:
    """A callback as of ``stages`` whose bar is there only while its stage lasts, so that others may draw in between.

    Without a terminal, work that takes longer says how far it is from time to time.
    """
    bars: Progress | None = None
    task, current = TaskID(0), ""
    console, said = error_console(), time.monotonic()

    def report(stage: str, done: int, total: int) -> None:
        nonlocal bars, task, current, said
        if not console.is_terminal:
            if time.monotonic() - said >= SECONDS_BETWEEN_LINES:
                console.print(f"{stage}: {done} of {total}")
                said = time.monotonic()
            return
        if bars is None or stage != current:
            if bars is not None:
                bars.stop()
            bars, current = _bars(), stage
            task = bars.add_task(stage, total=total)
            bars.start()
        bars.update(task, completed=done, total=total)
        if done >= total:
            bars.stop()
            bars = None

    try:
        yield report
    finally:
        if bars is not None:
            bars.stop()
