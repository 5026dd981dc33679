"""The table that has, for signs of a pixel and a pattern of weights, the sum of their products."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product as combinations

import numpy as np

from edgesmith.kernels.integer.window import IntegerWindow
from edgesmith.ops.sign_products import SignProduct

__all__ = ["SignTable"]


@dataclass(frozen=True)
class SignTable:
    """What one lookup computes: sum = ``factor`` * (entry - ``neutral``).

    Args:
        signs: products that it sums.
        factor: 2 where sums are even.
    """

    signs: int
    factor: int

    @classmethod
    def of(cls, window: IntegerWindow) -> SignTable:
        """Sums of four signs of +-1, or of four zeros where a pixel is padding, are even."""
        op = window.problem.anchor.op
        assert isinstance(op, SignProduct)
        if (window.weights == 0).any():
            return cls(2, 1)
        return cls(4, 2 if op.binary and window.weights.shape[3] % 4 == 0 else 1)

    @property
    def neutral(self) -> int:
        return self.signs // self.factor

    @property
    def largest(self) -> int:
        return 2 * self.neutral

    @property
    def weight_bits(self) -> int:
        """Of one weight in a pattern: its sign, and whether it is not 0."""
        return 4 // self.signs

    @property
    def most_steps(self) -> int:
        """Lookups whose sum fits a byte."""
        return 255 // self.largest

    def entries(self) -> np.ndarray:
        """u8 (signs in two bits each, patterns of weights): entries.

        Two bits are 0 for 0, 1 for 1 and 3 for -1, in weights of two bits too; one bit of a weight is 1 for 1.
        """
        number = np.array([0, 1, 0, -1])
        weight = number if self.weight_bits == 2 else np.array([-1, 1])

        def all_of(values: np.ndarray) -> np.ndarray:
            """Every combination, the first sign in the lowest bits."""
            return np.array([c[::-1] for c in combinations(values, repeat=self.signs)])

        sums = all_of(number) @ all_of(weight).T
        return np.asarray(sums // self.factor + self.neutral, np.uint8)

    def patterns(self, weights: np.ndarray) -> np.ndarray:
        """i8 indices of weights (..., signs)."""
        bits = np.where(weights > 0, 1, 0) if self.weight_bits == 1 else np.where(weights < 0, 3, weights)
        return np.asarray((bits << np.arange(0, 4, self.weight_bits)).sum(-1), np.int8)
