"""Options that say how a model is quantised."""

from __future__ import annotations

from typing import Annotated

import typer

from edgesmith.api import FLOAT
from edgesmith.errors import BadInput
from edgesmith.quantize.precisions import PRECISIONS

__all__ = ["CalibrationOption", "PrecisionOption", "require_calibration"]

CalibrationOption = Annotated[
    str | None,
    typer.Option(
        "--calibration",
        metavar="DATA",
        help="Typical inputs: a folder of pictures or arrays, FILE.npz or .npy, module:function, or none (synthetic).",
    ),
]
PrecisionOption = Annotated[
    str,
    typer.Option(
        "--precision",
        help=f"f32: as the model computes; {'; '.join(f'{p.name}: {p.meaning}' for p in PRECISIONS.values())}; "
        "auto: int8 where it is faster.",
    ),
]


def require_calibration(precision: str, calibration: str | None) -> None:
    """Raise ``BadInput`` where one of the two options makes no sense without the other."""
    if precision == FLOAT and calibration is not None:
        raise BadInput("calibration data are for quantisation", where="--calibration", hint="add --precision int8")
