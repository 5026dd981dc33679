"""Options that decide how kernels are chosen, and how their text is read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from edgesmith.errors import BadInput

__all__ = [
    "BudgetOption",
    "ForbidOption",
    "LockOption",
    "MaxFlashOption",
    "MaxRamOption",
    "OnlyOption",
    "seconds",
    "size",
]

BudgetOption = Annotated[str, typer.Option("--budget", help="Most time for measuring: 90s, 5m, 1h30m.")]
OnlyOption = Annotated[list[str] | None, typer.Option("--only", metavar="KERNEL", help="Use no other kernel.")]
ForbidOption = Annotated[list[str] | None, typer.Option("--forbid", metavar="KERNEL", help="Do not use this kernel.")]
LockOption = Annotated[
    Path | None, typer.Option("--lock", help="The choices of 'edgesmith tune', or of another artifact's lock.json.")
]

MaxRamOption = Annotated[
    str | None,
    typer.Option(
        "--max-ram",
        metavar="BYTES",
        help="Most RAM: context, inputs and outputs, such as 320k. [default: what the device has]",
    ),
]
MaxFlashOption = Annotated[
    str | None,
    typer.Option(
        "--max-flash", metavar="BYTES", help="Most flash: code and weights, such as 1M. [default: what the device has]"
    ),
]

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmg]?)(?:i?b)?")
_SIZES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}
_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?")


def size(text: str | None, option: str) -> int:
    """``320k`` -> 327680, ``1M`` -> 1048576, ``4096`` -> 4096; nothing -> 0.

    Raises:
        BadInput: a text of another form, or no bytes at all.
    """
    if text is None:
        return 0
    match = _SIZE.fullmatch(text.strip().lower())
    found = int(float(match[1]) * _SIZES[match[2]]) if match else 0
    if found < 1:
        raise BadInput(f"cannot read {text!r}", where=option, hint=f"Write {option} 320k, 1M or a number of bytes")
    return found


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
