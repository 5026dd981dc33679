"""Options that decide how kernels are chosen, and how their text is read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from edgesmith.errors import BadInput

__all__ = ["BudgetOption", "ForbidOption", "LockOption", "OnlyOption", "seconds"]

BudgetOption = Annotated[str, typer.Option("--budget", help="Most time for measuring: 90s, 5m, 1h30m.")]
OnlyOption = Annotated[list[str] | None, typer.Option("--only", metavar="KERNEL", help="Use no other kernel.")]
ForbidOption = Annotated[list[str] | None, typer.Option("--forbid", metavar="KERNEL", help="Do not use this kernel.")]
LockOption = Annotated[
    Path | None, typer.Option("--lock", help="The choices of 'edgesmith tune', or of another artifact's lock.json.")
]

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}
_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?")


def seconds(text: str) -> float:
    """``5m`` -> 300, ``1h30m`` -> 5400, ``90`` -> 90.

    Raises:
        BadInput: a text of another form, or no time at all.
    """
    match = _DURATION.fullmatch(text.strip())
    found = sum(float(n or 0) * unit for n, unit in zip(match.groups(), _UNITS.values(), strict=True)) if match else 0.0
    if found <= 0:
        raise BadInput(f"cannot read {text!r}", where="--budget", hint="Write --budget 5m, 90s or 1h30m")
    return found
