"""Options that say how a model is quantised."""

from __future__ import annotations

from typing import Annotated

import typer

from edgesmith.api import FLOAT
from edgesmith.errors import BadInput
from edgesmith.ir import DType
from edgesmith.quantize import Settings
from edgesmith.quantize.precisions import PRECISIONS

__all__ = [
    "ActivationsOption",
    "CalibrationOption",
    "PrecisionOption",
    "element_type",
    "require_calibration",
    "settings_of",
]

_TYPES = {
    "u8": DType.U8,
    "s8": DType.I8,
    "i8": DType.I8,
    "u16": DType.U16,
    "s16": DType.I16,
    "i16": DType.I16,
    "f32": DType.F32,
    "bf16": DType.BF16,
    "fp16": DType.F16,
}

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


ActivationsOption = Annotated[
    str | None,
    typer.Option(
        help="u8 or s8; s16 or u16; with bf16 weights f32 or bf16, with fp16 weights f32 or fp16. [default: the first]"
    ),
]


def element_type(name: str, option: str) -> DType:
    """The type that an option names.

    Raises:
        BadInput: there is none.
    """
    if name not in _TYPES:
        raise BadInput(f"{name!r} is none of {', '.join(_TYPES)}", where=option)
    return _TYPES[name]


def require_calibration(precision: str, calibration: str | None) -> None:
    """Raise ``BadInput`` where one of the two options makes no sense without the other."""
    if precision == FLOAT and calibration is not None:
        raise BadInput("calibration data are for quantisation", where="--calibration", hint="add --precision int8")


def settings_of(precision: str, activations: str | None) -> Settings | None:
    """How ``compile`` quantises, where it is told.

    Raises:
        BadInput: activations of a type without a precision to quantise to, or one that it does not have.
    """
    if activations is None:
        return None
    if precision not in PRECISIONS:
        raise BadInput(f"{precision} quantises nothing by itself", where="--activations", hint="add --precision fp16")
    return Settings(precision=precision, activations=element_type(activations, "--activations"))
