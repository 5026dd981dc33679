"""Terminal output: colour and borders on a terminal, plain aligned text elsewhere."""

from __future__ import annotations

import json
import sys
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

__all__ = ["console", "error_console", "figures", "print_json", "table"]

_PIPE_WIDTH = 240


def _console(stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _PIPE_WIDTH
    return Console(stderr=stderr, width=width, highlight=False, soft_wrap=not stream.isatty())


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
