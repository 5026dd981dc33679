"""``edgesmith cache``: what is kept between calls."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from edgesmith import knobs
from edgesmith.cli.console import console, figures
from edgesmith.errors import BadInput
from edgesmith.report.units import nbytes

__all__ = ["cache_bytes", "command"]


def command(
    action: Annotated[str, typer.Argument(metavar="[show|clear]", help="What to do.")] = "show",
) -> None:
    """Show or clear the cache: compiled C libraries, peak rates, build results, environments of peers.

    Nothing in it is needed; what is missing is made again. EDGESMITH_CACHE_DIR moves it.

    \b
    Examples:
      edgesmith cache
      edgesmith cache clear
    """
    folder = knobs.CACHE_DIR()
    if action == "show":
        parts = sorted(p for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
        rows = [("folder", str(folder)), ("size", nbytes(cache_bytes(folder)))]
        console().print(figures([*rows, *((p.name, nbytes(cache_bytes(p))) for p in parts)]))
    elif action == "clear":
        size = cache_bytes(folder)
        if folder.is_dir():
            for part in folder.iterdir():
                shutil.rmtree(part) if part.is_dir() and not part.is_symlink() else part.unlink()
        console().print(f"cleared {nbytes(size)} in {folder}")
    else:
        raise BadInput(f"cannot {action!r}", where="cache", hint="edgesmith cache show, or edgesmith cache clear")


def cache_bytes(folder: Path) -> int:
    """Size of all files below a folder; 0 when there is none."""
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file() and not p.is_symlink())
