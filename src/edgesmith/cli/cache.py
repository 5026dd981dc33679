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

MEASURED = "tuning"
"""The part that cannot be made again in minutes."""
BOUNDED = ("artifacts", "headers", "objects", "peers/models")


def command(
    action: Annotated[str, typer.Argument(metavar="[show|clear]", help="What to do.")] = "show",
    part: Annotated[str | None, typer.Argument(help="The part to clear (default: all but tuning).")] = None,
) -> None:
    """Show or clear the cache: build results, objects, C libraries, peak rates, peers' environments, measured times.

    Nothing in it is needed; what is missing is made again. Measured times (tuning) are cleared only by name.
    EDGESMITH_CACHE_DIR moves the cache; of artifacts, objects and headers, those used longest ago leave when they take
    more than EDGESMITH_CACHE_MB.

    \b
    Examples:
      edgesmith cache
      edgesmith cache clear
      edgesmith cache clear artifacts
    """
    folder = knobs.CACHE_DIR()
    if action == "show" and part is None:
        console().print(figures([("folder", str(folder)), ("size", nbytes(cache_bytes(folder))), *_parts(folder)]))
    elif action == "clear":
        parts = {p.name: p for p in _folders(folder)}
        if part is not None and part not in parts:
            known = f"There are: {', '.join(parts)}" if parts else "It is empty."
            raise BadInput(f"there is no {part!r} in the cache", where="cache clear", hint=known)
        cleared = [p for name, p in parts.items() if name == part or (part is None and name != MEASURED)]
        size = sum(map(cache_bytes, cleared))
        for path in cleared:
            shutil.rmtree(path)
        console().print(f"cleared {nbytes(size)} in {folder}")
    else:
        raise BadInput(f"cannot {action!r}", where="cache", hint="edgesmith cache show, or edgesmith cache clear")


def _folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.is_symlink()) if folder.is_dir() else []


def _parts(folder: Path) -> list[tuple[str, str]]:
    """Each part with its size, and its limit where it has one."""
    limit = f" of at most {nbytes(knobs.CACHE_MB() << 20)}"
    names = {p.name for p in _folders(folder)} | {name for name in BOUNDED if (folder / name).is_dir()}
    return [(name, nbytes(cache_bytes(folder / name)) + (limit if name in BOUNDED else "")) for name in sorted(names)]


def cache_bytes(folder: Path) -> int:
    """Size of all files below a folder; 0 when there is none."""
    return sum(p.lstat().st_size for p in folder.rglob("*") if p.is_file() and not p.is_symlink())
