"""Options that say how a picture becomes an input."""

from __future__ import annotations

from typing import Annotated

import typer

from edgesmith.errors import BadInput
from edgesmith.preprocess import Preprocess

__all__ = [
    "BgrOption",
    "FitOption",
    "LayoutOption",
    "MeanOption",
    "ScaleOption",
    "SizeOption",
    "StdOption",
    "preprocessing",
]

_PANEL = "Pictures: (pixel * scale - mean) / std"

SizeOption = Annotated[
    str | None,
    typer.Option("--size", metavar="HxW", help="Height and width; default: the model's.", rich_help_panel=_PANEL),
]
FitOption = Annotated[
    str | None, typer.Option("--fit", help="crop (default): cut the middle out; stretch.", rich_help_panel=_PANEL)
]
ScaleOption = Annotated[
    float | None, typer.Option("--scale", help="Factor on pixels from 0 to 255; default 1/255.", rich_help_panel=_PANEL)
]
MeanOption = Annotated[
    str | None,
    typer.Option("--mean", metavar="R,G,B", help="Subtracted: one value or one a channel.", rich_help_panel=_PANEL),
]
StdOption = Annotated[
    str | None,
    typer.Option("--std", metavar="R,G,B", help="Divided by: one value or one a channel.", rich_help_panel=_PANEL),
]
BgrOption = Annotated[
    bool | None, typer.Option("--bgr/--rgb", help="Order of the channels; default RGB.", rich_help_panel=_PANEL)
]
LayoutOption = Annotated[
    str | None, typer.Option("--layout", help="nchw or nhwc; default: from the shape.", rich_help_panel=_PANEL)
]


def preprocessing(
    start: Preprocess | None,
    size: str | None,
    fit: str | None,
    scale: float | None,
    mean: str | None,
    std: str | None,
    bgr: bool | None,
    layout: str | None,
) -> Preprocess | None:
    """``start`` with what the options change; None when neither says anything.

    Raises:
        BadInput: an option cannot be read.
    """
    changes = {
        "size": _size(size),
        "fit": fit,
        "scale": scale,
        "mean": _numbers(mean, "--mean"),
        "std": _numbers(std, "--std"),
        "bgr": bgr,
        "layout": layout.lower() if layout else None,
    }
    if all(value is None for value in changes.values()):
        return start
    return (start or Preprocess()).updated(**changes)


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    try:
        values = [int(n) for n in text.lower().replace(",", "x").split("x")]
    except ValueError:
        values = []
    if len(values) not in (1, 2):
        raise BadInput(f"cannot read {text!r}", where="--size", hint="write --size 224 or --size 480x640")
    return values[0], values[-1]


def _numbers(text: str | None, option: str) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(n) for n in text.split(","))
    except ValueError:
        raise BadInput(f"cannot read {text!r}", where=option, hint=f"write {option} 0.485,0.456,0.406") from None
