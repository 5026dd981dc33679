"""Terminal output: colour and borders on a terminal, plain aligned text elsewhere."""

from __future__ import annotations

import json
import sys
from typing import Any

from rich import box
from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook, RenderResult
from rich.segment import Segment
from rich.table import Table

__all__ = ["console", "error_console", "figures", "print_json", "table"]

_PIPE_WIDTH = 1 << 20
"""Nothing is cropped or folded where nobody reads lines on a screen."""


class _Trimmed:
    """A renderable whose lines end where their text ends, instead of being as wide as the longest."""

    def __init__(self, whole: ConsoleRenderable) -> None:
        self._whole = whole

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in Segment.split_lines(console.render(self._whole, options)):
            segments = [segment for segment in line if not segment.control]
            while segments and not segments[-1].text.strip():
                segments.pop()
            if segments:
                text, style, _ = segments.pop()
                segments.append(Segment(text.rstrip(), style))
            yield from (*segments, Segment.line())


class _Trim(RenderHook):
    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_Trimmed(r) for r in renderables]


def _console(stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    if stream.isatty():
        return Console(stderr=stderr, highlight=False)
    piped = Console(stderr=stderr, width=_PIPE_WIDTH, highlight=False, soft_wrap=True)
    piped.push_render_hook(_Trim())
    return piped


def console() -> Console:
    """The console on standard output."""
    return _console(False)


def error_console() -> Console:
    """The console on standard error: progress, warnings, errors."""
    return _console(True)


def table(title: str, columns: str) -> Table:
    """An empty table.

    Args:
        columns: names separated by ``|``; one that starts with ``>`` is aligned to the right (numbers).
    """
    plain = not sys.stdout.isatty()
    result = Table(
        title=title or None,
        title_justify="left",
        title_style="bold",
        box=None if plain else box.SIMPLE_HEAD,
        pad_edge=False,
        header_style="bold",
    )
    for column in columns.split("|"):
        number = column.startswith(">")
        result.add_column(
            column.lstrip(">"), justify="right" if number else "left", no_wrap=number or plain, overflow="fold"
        )
    return result


def figures(rows: list[tuple[str, str]], title: str = "") -> Table:
    """Two columns: what, and how much."""
    result = Table(
        title=title or None,
        title_justify="left",
        title_style="bold",
        box=None,
        show_header=False,
        padding=(0, 2, 0, 0),
    )
    result.add_column(style="cyan", no_wrap=True)
    result.add_column(overflow="fold")
    for what, value in rows:
        result.add_row(what, value)
    return result


def print_json(data: Any) -> None:
    """Data for other programs, on standard output."""
    print(json.dumps(data, indent=1))
