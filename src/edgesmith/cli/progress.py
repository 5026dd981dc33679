"""Progress bars, one a stage, on standard error; nothing where there is no terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from edgesmith.cli.console import error_console

__all__ = ["one_bar", "stages"]


@contextmanager
def stages() -> Iterator[Callable[[str, int, int], None]]:
    """A callback (stage, pieces done, pieces in all) that draws a bar for each stage it hears of."""
    console = error_console()
    bars = Progress(
        SpinnerColumn(finished_text="[green]✓[/green]"),
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    tasks: dict[str, TaskID] = {}

    def report(stage: str, done: int, total: int) -> None:
        if stage not in tasks:
            tasks[stage] = bars.add_task(stage, total=total)
        bars.update(tasks[stage], completed=done, total=total)

    with bars:
        yield report


@contextmanager
def one_bar(label: str) -> Iterator[Callable[[int, int], None]]:
    """A callback (pieces done, pieces in all) for work of a single stage."""
    with stages() as report:
        yield lambda done, total: report(label, done, total)
