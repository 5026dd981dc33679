"""``edgesmith keys``: a new pair of signing keys."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgesmith.cli.console import console, figures
from edgesmith.release import make_keys


def command(
    name: Annotated[Path, typer.Argument(help="Path of the keys without their ends.", show_default=False)],
) -> None:
    """Make a pair of Ed25519 keys: NAME.key signs artifacts and stays secret, NAME.pub checks them.

    \b
    Examples:
      edgesmith keys release
      edgesmith sign out/ --key release.key
      edgesmith verify out/ --key release.pub
    """
    private, public = make_keys(name)
    console().print(figures([("private", f"{private} (keep it secret)"), ("public", str(public))]))
