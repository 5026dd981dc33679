"""How a model is to be quantised."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from difflib import get_close_matches

from edgesmith.errors import BadInput
from edgesmith.ir import DType
from edgesmith.quantize.precisions import PRECISIONS, Precision

__all__ = ["BLOCKS", "LARGEST_I16", "Settings", "unknown"]

BLOCKS = (16, 32, 64, 128, 256)
"""Sizes that a block of weights may have: those for which ONNX Runtime has kernels."""

WIDE = (DType.F32, DType.I16)
"""Types of values that are not to be rounded to 8 bits."""

LARGEST_I16 = 127 * 256 + 127
"""Of 16-bit weights: such a number is 256 times one byte plus another, so that bytes can be multiplied."""


@dataclass(frozen=True)
class Settings:
    """How a model is quantised.

    Args:
        precision: name of one of ``PRECISIONS``.
        activations: type of activations, one of those of the precision; None: its usual one.
        observer: how the range of a value is chosen from what it was in calibration: the name of an observer
            (``min-max``, ``moving-average``, ``percentile``, ``entropy``, ``mse``, ``l3``).
        percentile: share of the elements, in percent, that ``percentile`` keeps within the range.
        momentum: weight of the past in ``moving-average``, below 1.
        symmetric_activations: zero is the middle of the integers, so that zero points are constants of the type; None:
            as is usual for the precision (16 bits: yes).
        symmetric_weights: weights have the zero point 0 and integers from -127 to 127.
        per_channel: weights have a scale for each output channel; otherwise one for the whole tensor.
        weight_bits: integers of weights have so many bits, 2 to 8, and are stored in 8 in the model; 1: they are -1 or
            1 times a scale, the mean of their sizes. In ``int4`` they have 4.
        ternary: weights are -1, 0 or 1 times a scale, and 0 below 0.7 of their mean size.
        block: in ``int4``, so many weights of a sum share a scale.
        power_of_two: scales are powers of two (rounded up, so that nothing more is cut off).
        recovery: methods that regain accuracy, in this order: ``equalize``, ``wide-values``, ``clip-activations``,
            ``clip-weights``, ``gptq``, ``adaround``, ``bias-correction``. None is applied where the data are synthetic.
        wide: what ``wide-values`` keeps values in: F32 or I16.
        wide_work: share of the network's work, at most, that ``wide-values`` takes out of 8 bits.
        max_accuracy_drop: layers stay in floats, as few as a search finds, until no more is lost on calibration data
            than so many points of top-1 accuracy; without labels, percent of predictions changed, or, where the first
            output scores no classes, percent of relative error. None: no limit.
        labels: the class of each calibration sample, as the model numbers them.
        exclude: names of nodes (of the optimised graph, or of the model) that stay in floats.
        only: operators that may be quantised, such as Conv and Gemm; None: all that can be.
    """

    precision: str = "int8"
    activations: DType | None = None
    observer: str = "l3"
    percentile: float = 99.99
    momentum: float = 0.9
    symmetric_activations: bool | None = None
    symmetric_weights: bool = True
    per_channel: bool = True
    weight_bits: int = 8
    ternary: bool = False
    block: int = 64
    power_of_two: bool = False
    recovery: tuple[str, ...] = ("equalize", "wide-values", "gptq")
    wide: DType = DType.F32
    wide_work: float = 0.25
    max_accuracy_drop: float | None = None
    labels: tuple[int, ...] | None = None
    exclude: tuple[str, ...] = ()
    only: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            why = f"{self.precision!r} is none of {', '.join(PRECISIONS)}"
            raise BadInput(why, where="quantisation: precision")
        if self.kind.weights is DType.I16 and not self.symmetric_weights:
            raise BadInput("16-bit weights are symmetric", where="quantisation: weights")
        types = self.kind.activations
        for holds, where, why in (
            (
                self.activation_type in types,
                "activations",
                f"{self.activations} is none of {', '.join(map(str, types))}, which {self.precision} has",
            ),
            (50 < self.percentile <= 100, "percentile", f"{self.percentile} is not above 50 and at most 100"),
            (1 <= self.weight_bits <= 8, "weight bits", f"{self.weight_bits} is not from 1 to 8"),
            (self.block in BLOCKS, "block", f"{self.block} is none of {', '.join(map(str, BLOCKS))}"),
            (
                not self.is_signs or (self.precision == "int8" and self.symmetric_weights and not self.power_of_two),
                "weight bits",
                "binary and ternary weights are symmetric, of int8, and their scales are means",
            ),
            (
                not self.is_signs or not {"adaround", "clip-weights"} & set(self.recovery),
                "recovery",
                "adaround and clip-weights choose integers and scales, which are given for binary and ternary weights",
            ),
            (self.wide in WIDE, "wide values", f"{self.wide} is none of {', '.join(map(str, WIDE))}"),
            (0 <= self.wide_work <= 1, "work of wide values", f"{self.wide_work} is not from 0 to 1"),
            (0 <= self.momentum < 1, "momentum", f"{self.momentum} is not from 0 to below 1"),
            ((self.max_accuracy_drop or 0) >= 0, "drop of accuracy", f"{self.max_accuracy_drop} is below 0"),
        ):
            if not holds:
                raise BadInput(why, where=f"quantisation: {where}")

    @property
    def is_signs(self) -> bool:
        """Whether weights are binary or ternary."""
        return self.weight_bits == 1 or self.ternary

    @property
    def kind(self) -> Precision:
        """The precision."""
        return PRECISIONS[self.precision]

    @property
    def largest_weight(self) -> int:
        """The largest integer of symmetric weights."""
        return LARGEST_I16 if self.kind.weights is DType.I16 else 2 ** (max(self.weight_bits, 2) - 1) - 1

    @property
    def activation_type(self) -> DType:
        """The type of activations."""
        return self.activations or self.kind.activations[0]

    @property
    def is_symmetric(self) -> bool:
        """Whether zero is the middle of the integers of activations."""
        given = self.symmetric_activations
        return self.kind.is_symmetric if given is None else given

    def to_json(self) -> dict[str, object]:
        chosen = {
            "activations": str(self.activation_type),
            "symmetric_activations": self.is_symmetric,
            "wide": str(self.wide),
        }
        return {**asdict(self), **chosen}

    def digest(self, *context: str) -> str:
        """SHA-256 of the settings and further strings."""
        return hashlib.sha256(json.dumps([self.to_json(), *context], sort_keys=True).encode()).hexdigest()


def unknown(what: str, name: str, known: Iterable[str], where: str) -> BadInput:
    """The error for a name that is none of ``known``."""
    names = list(known)
    near = get_close_matches(name, names, n=3) or names[:8]
    return BadInput(f"there is no {what} {name!r}", where=where, hint=f"there is: {', '.join(near)}" if near else "")
