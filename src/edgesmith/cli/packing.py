"""Options about packages that several commands share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from edgesmith.packaging import FORMS
from edgesmith.recipe import PARTS

__all__ = ["EmitOption", "VersionOption", "emitted"]

EmitOption = Annotated[
    list[str] | None,
    typer.Option(
        "--emit",
        metavar="FORM[,FORM...]",
        help=f"What to make: {', '.join(PARTS)}; as packages: {', '.join(FORMS)}. [default: the parts of the target]",
        show_default=False,
    ),
]
VersionOption = Annotated[
    str, typer.Option("--package-version", metavar="VERSION", help="Version of packages, and for CMake and pkg-config.")
]


def emitted(texts: Sequence[str]) -> tuple[str, ...]:
    """``["shared,exe", "wheel"]`` -> ``("shared", "exe", "wheel")``."""
    return tuple(name.strip() for text in texts for name in text.split(",") if name.strip())
