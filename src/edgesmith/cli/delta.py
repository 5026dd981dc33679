"""``edgesmith delta``: what changed from one artifact to the next."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgesmith.cli.console import console, figures
from edgesmith.release import make_delta
from edgesmith.report.units import nbytes


def command(
    old: Annotated[Path, typer.Argument(help="The artifact that the receiver has.", show_default=False)],
    new: Annotated[Path, typer.Argument(help="The artifact that it shall have.", show_default=False)],
    output: Annotated[Path, typer.Option("-o", "--output", help="The delta.")] = Path("update.delta"),
) -> None:
    """Write the difference between two artifacts to a file, for slow links.

    \b
    Examples:
      edgesmith delta out-1/ out-2/ -o update.delta
      edgesmith patch update.delta out-1/ -o out-2/
    """
    size = make_delta(old, new, output)
    whole = sum(p.stat().st_size for p in new.rglob("*") if p.is_file())
    share = f" ({size / whole:.0%} of {nbytes(whole)})" if whole else ""
    console().print(figures([("delta", str(output)), ("size", f"{nbytes(size)}{share}")]))
