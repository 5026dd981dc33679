"""How an FFT convolution cuts its input into tiles, and what rounding amounts to in it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np

from edgesmith.ir import DType
from edgesmith.kernels.conv.fourier import Program, complex_transform, inverse_real_transform, real_transform
from edgesmith.kernels.rounding import CONFIDENCE
from edgesmith.ops.window import Window

__all__ = ["SIZES", "Axis", "Tile", "axes", "bins", "operations", "rounding_bound"]

SIZES = (8, 12, 16, 20, 24, 28, 30, 32, 36, 40, 42, 48, 54, 60, 64, 72, 80, 96)
"""Even sizes of transforms, products of small primes."""


@dataclass(frozen=True)
class Tile:
    """Outputs ``first`` to ``first + outputs`` of an axis; points ``low`` to ``high`` of the transform hold input."""

    first: int
    outputs: int
    low: int
    high: int

    @property
    def data(self) -> range:
        return range(self.low, self.high)


@dataclass(frozen=True)
class Axis:
    """One spatial axis, of stride 1, covered by circular correlations of ``size`` points (overlap-save).

    Point i of a tile is the input at ``first - pad + i``. A circular correlation is right for the outputs whose taps
    do not wrap around, and for those whose taps wrap into points that hold padding.
    """

    extent: int
    outputs: int
    pad: int
    kernel: int
    dilation: int
    size: int

    @property
    def span(self) -> int:
        """Points from the first tap to the last."""
        return (self.kernel - 1) * self.dilation + 1

    @property
    def whole(self) -> bool:
        """One tile holds the entire axis: what wraps around meets the padding before the input."""
        reached = self.outputs + self.span - 1
        return max(min(self.extent + self.pad, reached), reached - self.pad) <= self.size

    @cached_property
    def tiles(self) -> tuple[Tile, ...]:
        """None when the size is too small for any."""
        step = self.outputs if self.whole else self.size - self.span + 1
        return tuple(self._tile(first, step) for first in range(0, self.outputs, step)) if step > 0 else ()

    def _tile(self, first: int, step: int) -> Tile:
        outputs = min(step, self.outputs - first)
        start = first - self.pad
        return Tile(first, outputs, max(0, -start), min(outputs + self.span - 1, self.extent - start))

    @property
    def taps(self) -> range:
        """Points of the transform that hold the kernel."""
        return range(0, self.span, self.dilation)


def axes(window: Window, shape: Sequence[int], outputs: Sequence[int], sizes: Sequence[int]) -> tuple[Axis, Axis]:
    """Height and width.

    Args:
        shape, outputs: of the input and the output, (N, C, H, W).
        sizes: of the transforms.
    """
    height, width = (
        Axis(shape[2 + a], outputs[2 + a], window.pads_begin[a], window.kernel[a], window.dilations[a], sizes[a])
        for a in range(2)
    )
    return height, width


def bins(width: int) -> int:
    """Columns of the spectrum of a real image of ``width`` columns; the others are conjugate."""
    return width // 2 + 1


def operations(size: int, used: int) -> float:
    """About how many operations a complex transform has of which ``used`` inputs, or outputs, are not left out."""
    return 2.4 * size * math.log2(size) * (1 + used / size) / 2


def rounding_bound(
    height: Axis, width: Axis, x: np.ndarray, weights: np.ndarray, bias: np.ndarray | None, depthwise: bool
) -> np.ndarray:
    """Bound on the rounding error of each output: (N, filters, *outputs).

    A transform of n points is sqrt(n) times an isometry, so it keeps relative errors in the 2-norm (Higham, "Accuracy
    and Stability of Numerical Algorithms", 2nd ed., section 24.1), and an output is a scalar product with the tile x
    and the kernel w of one channel: its error by a stage of the computation that grows roundings by g is at most
    g u |x| |w| in 2-norms. Roundings are taken as independent of mean zero, as for direct sums (Higham and Mary, 2019):
    squares add up over stages and channels, and ``CONFIDENCE`` standard deviations are allowed. The growth of each
    transform is that of its program (``Program.growth``). Rounded constants, which are the same everywhere, add up as
    they are; so does, as for direct sums, what rounds while products are summed over C channels.
    """
    u = DType.F32.unit_roundoff
    stages, constants = _stages(height, width)
    squares = np.square(weights.astype(np.float64)).sum((2, 3))
    result = np.zeros((x.shape[0], weights.shape[0], height.outputs, width.outputs))
    for down in height.tiles:
        for across in width.tiles:
            part = x[:, :, _inputs(height, down), _inputs(width, across)]
            energy = np.square(part.astype(np.float64)).sum((2, 3))
            if depthwise:
                both = energy * squares[:, 0]
                independent, together = np.sqrt(both), np.sqrt(both)
            else:
                independent, together = np.sqrt(energy @ squares.T), np.sqrt(energy) @ np.sqrt(squares).T
            summing = CONFIDENCE * u * math.sqrt(2 * weights.shape[1])
            bound = CONFIDENCE * u * math.sqrt(stages) * independent + (summing + constants + u) * together
            result[
                :,
                :,
                down.first : down.first + down.outputs,
                across.first : across.first + across.outputs,
            ] = bound[:, :, None, None]
    return result if bias is None else result + u * np.abs(bias.astype(np.float64)).reshape(-1, 1, 1)


def _inputs(axis: Axis, tile: Tile) -> slice:
    start = tile.first - axis.pad
    return slice(start + tile.low, start + tile.high)


@cache
def _stages(height: Axis, width: Axis) -> tuple[float, float]:
    """Sum of squared growths of all stages, and the relative error by rounded constants.

    The growth of a pruned transform is at most that of the full one.
    """
    h, w = height.size, width.size
    # In a half spectrum each column but the first and the last stands for two.
    half = np.sqrt(np.array([1.0, 1.0] + [2.0] * (w - 2)))
    one_h, one_w = np.ones(2 * h), np.ones(w)
    column = complex_transform(h, range(h), range(h))
    row = real_transform(w, range(w))
    back = inverse_real_transform(w, range(w))
    growths = [column.growth(one_h, one_h)] * 3, [row.growth(one_w, half)] * 2, [back.growth(1 / half, one_w)]
    squares = sum(g * g for found, n in zip(growths, (h, w, w), strict=True) for g in found / np.sqrt(n))
    errors = 3 * _constants(column) / math.sqrt(h) + 2 * _constants(row, half) / math.sqrt(w)
    errors += _constants(back.transposed(), half) / math.sqrt(w)
    # The kernel's spectrum is scaled once, by a rounded factor.
    return squares + 1, errors + DType.F32.unit_roundoff


def _constants(program: Program, weights: np.ndarray | float = 1.0) -> float:
    """2-norm of what rounding the constants changes."""
    change = program.matrix - program.exact
    return float(np.linalg.norm(np.reshape(weights, (-1, 1)) * change, 2))
