"""How a network is quantised while it is trained."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import Enum
from fnmatch import fnmatchcase

from edgesmith.compress.qat.quantizers import ACTIVATIONS, WEIGHTS
from edgesmith.errors import BadInput
from edgesmith.ir import DType
from edgesmith.quantize import Settings as PostTraining
from edgesmith.quantize.settings import unknown

__all__ = ["BLOCKS", "LayerBits", "Reads", "Settings"]

SIGNS, FLOATS = "signs", "floats"
BLOCKS = "blocks"


class Reads(Enum):
    """What a layer reads."""

    INTEGERS = "the integers of its input"
    SIGNS = "1 where its input is at least 0, and -1 elsewhere"
    FLOATS = "its input as it is"


_READS = {SIGNS: Reads.SIGNS, FLOATS: Reads.FLOATS}
"""By the settings of activations."""


@dataclass(frozen=True)
class LayerBits:
    """How one layer is quantised.

    Args:
        weights: name of the quantiser of its weights.
        bits: of its weights.
    """

    weights: str
    bits: int
    reads: Reads = Reads.INTEGERS


@dataclass(frozen=True)
class Settings:
    """How a network is quantised.

    Layers are named by their path in the module, such as ``features.0.0``, by that of a module that they lie in, like
    ``features.0``, and by patterns such as ``features.*.conv``.

    Args:
        weights: quantiser of weights: ``lsq``, ``min-max``, ``twn`` (ternary), ``binary``, ``inq`` (powers of two);
            ``blocks``: 4 bits with a scale for each ``block`` of inputs, with activations in floats.
        activations: quantiser of values between layers: ``lsq``, ``ema``, ``pact``; or ``signs``: layers read signs of
            their inputs (with ``binary`` or ``twn``), and ``lsq`` rounds what others read; or ``floats``.
        weight_bits: of ``lsq``, ``min-max`` and ``inq``: 2 to 8.
        bits: (pattern, bits) of layers with other bits; the first pattern that fits counts.
        keep: patterns of layers with 8-bit weights by ``lsq`` whatever the others have, often the first and the last.
        floats: patterns of layers that stay in floats.
        activation_type: u8 or i8.
        symmetric_activations: zero is the middle of the integers.
        keep_zeros: weights that are 0 stay 0, as those that a finished ``Sparsifier`` has cut.
        block: of ``blocks``: 16, 32, 64, 128 or 256. Layers whose inputs it does not divide evenly stay in floats.
        per_channel: weights have a scale for each output channel; otherwise one for the layer.
        observer, percentile: how ranges are first chosen, see ``edgesmith.quantize.Settings``.
    """

    weights: str = "lsq"
    activations: str = "lsq"
    weight_bits: int = 8
    bits: tuple[tuple[str, int], ...] = ()
    keep: tuple[str, ...] = ()
    floats: tuple[str, ...] = ()
    activation_type: DType = DType.U8
    symmetric_activations: bool = False
    keep_zeros: bool = False
    block: int = 64
    per_channel: bool = True
    observer: str = "l3"
    percentile: float = 99.99
    post_training: PostTraining = field(init=False, repr=False)
    """The same of post-training quantisation to 8 bits."""

    def __post_init__(self) -> None:
        if self.weights not in WEIGHTS:
            raise unknown("quantiser of weights", self.weights, WEIGHTS, "training: weights")
        if self.activations not in (known := (*ACTIVATIONS, *_READS)):
            raise unknown("quantiser of activations", self.activations, known, "training: activations")
        if (self.activations == FLOATS) is not (self.weights == BLOCKS) or (self.keep and self.weights == BLOCKS):
            why = "weights in blocks go with activations in floats, and the one without the other is not compiled"
            raise BadInput(why, where="training: activations", hint="weights='blocks', activations='floats', no keep")
        for bits in (self.weight_bits, *(b for _, b in self.bits)):
            if not isinstance(bits, int) or not 2 <= bits <= 8:
                hint = "weights='binary' has 1 bit" if bits == 1 else ""
                raise BadInput(f"{bits} bits are no whole number from 2 to 8", where="training: weight bits", hint=hint)
        if self.activations == SIGNS and not WEIGHTS[self.weights].are_signs:
            why = f"layers that read signs have weights of signs, {self.weights} gives others"
            raise BadInput(why, where="training: activations", hint="weights='binary' or 'twn'")
        if self.keep_zeros and self.weights == "binary":
            raise BadInput("binary weights have no 0 to keep", where="training: keep_zeros", hint="weights='twn'")
        given = PostTraining(
            activations=self.activation_type,
            symmetric_activations=self.symmetric_activations,
            per_channel=self.per_channel,
            observer=self.observer,
            percentile=self.percentile,
            block=self.block,
            recovery=(),
        )
        object.__setattr__(self, "post_training", given)

    @property
    def stored_values(self) -> str:
        """Name of the quantiser of values that are stored as integers."""
        return "lsq" if self.activations in _READS else self.activations

    def layer(self, path: str) -> LayerBits | None:
        """How the layer at ``path`` is quantised; None: not at all."""
        if _fits(path, self.floats):
            return None
        if _fits(path, self.keep):
            return LayerBits("lsq", 8)
        bits = next((b for pattern, b in self.bits if _fits(path, (pattern,))), self.weight_bits)
        return LayerBits(
            self.weights, 4 if self.weights == BLOCKS else bits, _READS.get(self.activations, Reads.INTEGERS)
        )

    def rounding(self, layer: LayerBits) -> PostTraining:
        """How post-training quantisation rounds a layer to as many bits."""
        if not WEIGHTS[layer.weights].are_signs:
            return replace(self.post_training, weight_bits=layer.bits)
        if layer.weights == "twn":
            return replace(self.post_training, ternary=True)
        return replace(self.post_training, weight_bits=1)

    def unused(self, paths: list[str]) -> Iterator[str]:
        """Patterns that fit no layer."""
        for pattern in (*(p for p, _ in self.bits), *self.keep, *self.floats):
            if not any(_fits(path, (pattern,)) for path in paths):
                yield pattern


def _fits(path: str, patterns: tuple[str, ...]) -> bool:
    """Whether a pattern is that of the path, or of a module that it lies in."""
    parts = path.split(".")
    inside = [".".join(parts[: i + 1]) for i in range(len(parts))]
    return any(fnmatchcase(p, pattern) for pattern in patterns for p in inside)
