"""A product as matrices: each sum that it computes is a row of inputs times a row of weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgesmith.ops.conv import Conv
from edgesmith.ops.gemm import Gemm
from edgesmith.quantize.products import Product

__all__ = ["Linear"]


@dataclass(frozen=True, eq=False)
class Linear:
    """Conv, Gemm or MatMul as ``groups`` matrix products; g groups, m output channels of each, k terms of each sum.

    Args:
        form: the node and its weights.
    """

    form: Product

    @property
    def groups(self) -> int:
        op = self.form.node.op
        return op.group if isinstance(op, Conv) else 1

    @property
    def terms(self) -> int:
        return self.form.weights.size // self.form.channels

    @property
    def takes_bias(self) -> bool:
        """Whether the node has, or could have, a bias."""
        return isinstance(self.form.node.op, Conv | Gemm) and self.form.bias_gain != 0

    def matrix(self, weights: np.ndarray) -> np.ndarray:
        """Weights of the node, or numbers shaped like them, as (g, m, k)."""
        rows = np.asarray(np.moveaxis(weights, self.form.axis, 0))
        return np.asarray(rows.reshape(self.groups, -1, self.terms))

    def tensor(self, matrix: np.ndarray) -> np.ndarray:
        """The reverse of ``matrix``."""
        first = np.moveaxis(self.form.weights, self.form.axis, 0).shape
        return np.ascontiguousarray(np.moveaxis(matrix.reshape(first), 0, self.form.axis))

    def by_channel(self, array: np.ndarray) -> np.ndarray:
        """One number for each output channel, or one for all, as (g, m or 1, 1)."""
        return array.reshape(self.groups, -1, 1) if array.size > 1 else array.reshape(1, 1, 1)

    def places(self, shape: Sequence[int], count: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """At most ``count`` places of an output, one sum for each channel at each, as indices of its other axes."""
        shape = (shape[0], *shape[2:]) if isinstance(self.form.node.op, Conv) else tuple(shape[:-1])
        total = int(np.prod(shape, dtype=np.int64))
        chosen = np.arange(total) if total <= count else np.sort(rng.choice(total, count, replace=False))
        return tuple(np.unravel_index(chosen, shape)) if shape else ()

    def inputs(self, x: np.ndarray, places: tuple[np.ndarray, ...]) -> np.ndarray:
        """The inputs of the sums at some places, (g, places, k)."""
        op = self.form.node.op
        if not isinstance(op, Conv):
            return np.asarray(x[places]).reshape(1, -1, self.terms)
        taps = [_columns(taken, places) for _, taken in op.window.taps(x, self.form.node.name)]
        rows = np.stack(taps, axis=-1)
        return rows.reshape(rows.shape[0], self.groups, self.terms).transpose(1, 0, 2)

    def outputs(self, y: np.ndarray, places: tuple[np.ndarray, ...]) -> np.ndarray:
        """The results at some places, (g, places, m)."""
        rows = _columns(y, places) if isinstance(self.form.node.op, Conv) else y[places].reshape(-1, self.form.channels)
        return rows.reshape(rows.shape[0], self.groups, -1).transpose(1, 0, 2)


def _columns(x: np.ndarray, places: tuple[np.ndarray, ...]) -> np.ndarray:
    """All channels of (N, C, *spatial) at some places, (places, C)."""
    return np.asarray(np.moveaxis(x, 1, -1)[places])
