"""``edgesmith patch``: an artifact and a delta become the next artifact."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgesmith.cli.console import console, figures
from edgesmith.release import apply_delta, check_signature


def command(
    delta: Annotated[Path, typer.Argument(help="What 'edgesmith delta' wrote.", show_default=False)],
    old: Annotated[Path, typer.Argument(help="The artifact that it starts from.", show_default=False)],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the new artifact.", show_default=False)],
    key: Annotated[
        Path | None, typer.Option(help="The public key that must have signed the new artifact.", show_default=False)
    ] = None,
) -> None:
    """Make the next artifact from the last one and a delta; every file is checked before the folder appears.

    \b
    Examples:
      edgesmith patch update.delta out-1/ -o out-2/ --key release.pub
    """
    apply_delta(old, delta, output, accept=(lambda folder: check_signature(folder, key)) if key else None)
    console().print(figures([("artifact", str(output)), ("signature", "checked" if key else "not asked for (--key)")]))
