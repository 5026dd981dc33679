"""How far rounding may move the result of a Winograd convolution.

With V = B' d B for each input channel, U = G g G' for each pair of channels, M = sum over channels of U . V, and
y = A' M A, first-order error analysis (after B. Barabasz et al., ACM Trans. Math. Softw. 46(4), 2020) gives four parts,
u being the unit roundoff:

- the sums M over C channels: each of the C roundings of a position is at most u sum |U| |V|, and those of all positions
  are independent of one another;
- V: at most b roundings on the way of an input through B' and B, so that an element errs by b u |B'| |d| |B|; errors of
  different channels are independent;
- U: the same with |G| |g| |G'|;
- y: at most a roundings of every term on the way through A' and A and at the bias.

Roundings that behave like independent random variables of mean zero sum up to at most 4 times the root of the sum of
their squares but with negligible probability, and n of them in a product to 4 u sqrt(n) (N. J. Higham, T. Mary, SIAM
J. Sci. Comput. 41(5), 2019, theorem 2.4). The worst case, every rounding at its limit and none cancelling, is u times
their number times |A'| [(|G| |g| |G'|) . (|B'| |d| |B|)] |A|. The smaller of the two is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from edgesmith.ir import DType
from edgesmith.kernels.conv.winograd_transform import Matrix, Program, Transform
from edgesmith.kernels.rounding import CONFIDENCE
from edgesmith.ops.window import Window

__all__ = ["rounding_bound"]


def rounding_bound(
    window: Window, forms: tuple[Transform, Transform], operands: Sequence[np.ndarray | None], shape: Sequence[int]
) -> np.ndarray:
    """The bound for every element of the result (N, M, H, W).

    Args:
        forms: F(m, r) of the vertical and of the horizontal axis.
        operands: input (N, C, H, W), weights (M, C, kh, kw), and perhaps the bias (M,).
        shape: of the result.
    """
    x, weights, bias = (*operands, None)[:3]
    assert x is not None and weights is not None
    tiles = _tiles(x, window, forms, shape)
    output, kernel, input_ = ([_floats(getattr(f, name)) for f in forms] for name in ("output", "kernel", "input"))
    size = [[np.abs(m) for m in pair] for pair in (output, kernel, input_)]
    batch, _, down, across = tiles.shape[:4]
    flat = tiles.transpose(0, 2, 3, 1, 4, 5).reshape(batch * down * across, *tiles.shape[1:2], *tiles.shape[4:])
    transformed, largest = _transformed(input_, flat), _transformed(size[2], np.abs(flat))
    wide = weights.astype(np.float64).swapaxes(0, 1)
    kernels, largest_kernels = _transformed(kernel, wide), _transformed(size[1], np.abs(wide))
    offset = 0.0 if bias is None else np.abs(bias.astype(np.float64)).reshape(-1, 1, 1)

    def back(values: np.ndarray, power: int) -> np.ndarray:
        """|A|^power on both axes of products (position, tile, filter), as (N, M, H, W)."""
        outer, inner = (s**power for s in size[0])
        grid = values.reshape(outer.shape[1], inner.shape[1], batch, down, across, -1)
        made = np.tensordot(outer, np.tensordot(inner, grid, (1, 1)), (1, 1))
        # (row in the tile, column in the tile, image, tile row, tile column, filter)
        whole = made.transpose(2, 5, 3, 0, 4, 1).reshape(batch, -1, down * len(outer), across * len(inner))
        return np.asarray(whole[:, :, : shape[2], : shape[3]])

    u, channels = DType.F32.unit_roundoff, x.shape[1]
    before, weight = (sum(_roundings(getattr(f, name)) for f in forms) for name in ("input", "kernel"))
    after = sum(_roundings(f.output) for f in forms) + (bias is not None)
    sums = back((np.abs(transformed) @ np.abs(kernels)) ** 2, 2)
    inputs = back(np.sqrt(largest**2 @ kernels**2), 1)
    weights_ = back(np.sqrt(transformed**2 @ largest_kernels**2), 1)
    results = back(np.abs(transformed @ kernels), 1) + offset
    typical = (
        np.sqrt(channels * sums) + np.sqrt(before) * inputs + np.sqrt(weight) * weights_ + np.sqrt(after) * results
    )
    worst = (before + weight + channels + after) * (back(largest @ largest_kernels, 1) + offset)
    return np.asarray(u * np.minimum(CONFIDENCE * typical, worst))


def _tiles(x: np.ndarray, window: Window, forms: tuple[Transform, Transform], shape: Sequence[int]) -> np.ndarray:
    """The padded input as overlapping tiles (image, channel, row of tiles, column of tiles, height, width)."""
    counts = [-(-n // f.m) for n, f in zip(shape[2:], forms, strict=True)]
    extents = [f.extent(c) for c, f in zip(counts, forms, strict=True)]
    padded = np.zeros((*x.shape[:2], *extents))
    rows, columns = (slice(p, min(p + n, e)) for p, n, e in zip(window.pads_begin, x.shape[2:], extents, strict=True))
    padded[:, :, rows, columns] = x[:, :, : rows.stop - rows.start, : columns.stop - columns.start]
    every = np.lib.stride_tricks.sliding_window_view(padded, (forms[0].n, forms[1].n), (2, 3))
    return np.asarray(every[:, :, :: forms[0].step, :: forms[1].step])


def _transformed(matrices: Sequence[np.ndarray], values: np.ndarray) -> np.ndarray:
    """Matrices on both axes of windows (row, column, height, width), as (position, row, column)."""
    down, across = matrices
    half = np.tensordot(values, across, (3, 1))
    whole = np.tensordot(down, half, (1, 2)).transpose(0, 3, 1, 2)
    return np.ascontiguousarray(whole).reshape(len(down) * len(across), *values.shape[:2])


def _floats(matrix: Matrix) -> np.ndarray:
    return np.array([[float(c) for c in row] for row in matrix])


@cache
def _roundings(matrix: Matrix) -> int:
    """The most roundings of the programs for the matrix, for the columns beside padding, and for its first rows."""
    n = len(matrix[0])
    columns = [tuple(row[a:b] for row in matrix) for a in range(n) for b in range(a + 1, n + 1)]
    rows = [matrix[:m] for m in range(1, len(matrix) + 1)]
    return max(Program.of(part).roundings for part in (*columns, *rows))
