"""Forms F(m, r) whose transforms are integers, so that a Winograd convolution of integers is exact.

Points 0, 1, -1, 2 and -2 give integer matrices but for G, whose rows are multiplied by what makes them integers; the
result is then a known multiple of the convolution. Sums may be computed modulo 2**32 all the way: where the multiple is
2**k times an odd number, multiplying by the inverse of that number modulo 2**32 leaves 2**k times the convolution, and
an arithmetic shift gives the convolution itself wherever it lies within 32 - k bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from math import lcm

import numpy as np

from edgesmith.kernels.conv.winograd_transform import Form, Matrix, Transform, side_by_side, toom_cook

__all__ = ["IntegerForm", "integer_form"]

POINTS = (0, 1, -1, 2, -2)
MOST_ROW = 16
"""Sum of absolute values of a row of G: two of them, and 8-bit weights, stay within 16 bits."""


@dataclass(frozen=True)
class IntegerForm:
    """F(m, r) whose result is ``multiple`` times the correlation; all matrices are integers."""

    transform: Transform
    multiple: int

    @property
    def input_growth(self) -> int:
        """Largest sum of absolute values of a row of B'."""
        return _growth(self.transform.input)


@cache
def integer_form(m: int, r: int, stride: int = 1) -> IntegerForm:
    """F(m, r) with a stride.

    Factors that make up for the rows of G go into G as far as ``MOST_ROW`` allows, and into the columns of A' else.

    Raises:
        ValueError: m + r - 2 is more than 5 points, or there are fewer taps than the stride.
    """
    plain = side_by_side(m, r, stride, _form)
    wanted = [lcm(*(c.denominator for c in row)) for row in plain.kernel]
    multiple = lcm(*wanted)
    kernel, factors = [], []
    for row, scale in zip(plain.kernel, wanted, strict=True):
        whole = [c * scale for c in row]
        rest, size = multiple // scale, int(sum(map(abs, whole)))
        into = max(f for f in range(1, rest + 1) if rest % f == 0 and (f == 1 or f * size <= MOST_ROW))
        kernel.append(tuple(c * into for c in whole))
        factors.append(Fraction(rest // into))
    output = tuple(tuple(c * f for c, f in zip(row, factors, strict=True)) for row in plain.output)
    return IntegerForm(Transform(m, r, stride, output, tuple(kernel), plain.input), multiple)


def _form(m: int, r: int) -> Form:
    count = m + r - 2 if r > 1 else 0
    if count > len(POINTS):
        raise ValueError(f"F({m}, {r}) needs {count} points, {len(POINTS)} keep integers small")
    return toom_cook(m, r, [Fraction(p) for p in POINTS[:count]], [Fraction(1)] * count)


def _growth(matrix: Matrix) -> int:
    return int(max(sum(map(abs, row)) for row in matrix))


def transformed_weights(weights: np.ndarray, vertical: IntegerForm, horizontal: IntegerForm) -> np.ndarray:
    """G g G' of weights (output channels, input channels, lines, columns), exact."""
    down, across = (np.array(f.transform.kernel, np.int64) for f in (vertical, horizontal))
    return np.asarray(np.einsum("il,oclk,jk->ocij", down, weights.astype(np.int64), across, optimize=True))
