"""The precisions that a model can be quantised to: which types its activations and weights have."""

from __future__ import annotations

from dataclasses import dataclass

from edgesmith.ir import DType

__all__ = ["PRECISIONS", "Precision"]


@dataclass(frozen=True)
class Precision:
    """One precision.

    Args:
        activations: the types that activations may have, the usual one first; f32: they stay as they are.
        weights: the type of weights.
        meaning: what it is, in a few words.
    """

    name: str
    activations: tuple[DType, ...]
    weights: DType
    meaning: str

    @property
    def is_integer(self) -> bool:
        """Whether products are those of integers, whose scales need calibration data."""
        return not self.activations[0].is_float

    @property
    def is_blockwise(self) -> bool:
        """Whether weights are integers with a scale for each block of a sum, and activations floats."""
        return not self.is_integer and not self.weights.is_float

    @property
    def is_symmetric(self) -> bool:
        """Whether activations usually have the middle of the type for 0: 16 bits are enough for that."""
        return self.activations[0] is DType.I16


PRECISIONS = {
    p.name: p
    for p in (
        Precision("int8", (DType.U8, DType.I8), DType.I8, "8-bit activations and weights"),
        Precision("int16x8", (DType.I16, DType.U16), DType.I8, "16-bit activations, 8-bit weights"),
        Precision("int16", (DType.I16, DType.U16), DType.I16, "16-bit activations and weights"),
        Precision("int4", (DType.F32,), DType.I8, "weights in 4 bits with a scale for each block, arithmetic in f32"),
        Precision("fp16", (DType.F32, DType.F16), DType.F16, "weights stored in fp16, arithmetic in f32"),
        Precision("bf16", (DType.F32, DType.BF16), DType.BF16, "weights stored in bf16, arithmetic in f32"),
    )
}
"""By name."""
