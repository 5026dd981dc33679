"""Where the weights of a product are not zero."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from edgesmith.kernels.base import Problem
from edgesmith.kernels.gemm.product import Product, split_product
from edgesmith.kernels.tile import Panels
from edgesmith.kernels.zeros import zeros_of

__all__ = ["BlockLists", "SparseProduct", "not_empty", "sparse_product"]


@dataclass(frozen=True)
class BlockLists:
    """The blocks of weights that are not all zero: one input channel of a panel's output channels each.

    Args:
        starts: number of blocks before each panel, and in the end of all; i32.
        steps: the input channel of each block, ascending within a panel; i32.
        weights: the blocks one after the other, f32; those of the last panel have only as many vectors as it needs.
    """

    starts: np.ndarray
    steps: np.ndarray
    weights: np.ndarray


class SparseProduct:
    """A product of which some weights are zero.

    Args:
        product: what is computed.
        density: share of the weights that are not zero.

    Attributes:
        count: number of weights that are not zero.
    """

    def __init__(self, product: Product, density: float) -> None:
        self.product, self.density = product, density
        lanes = product.problem.target.lanes
        vectors = -(-product.channels // lanes)
        nonzero = np.zeros((vectors * lanes, product.steps), bool)
        nonzero[: product.channels] = product.weights != 0
        self.count = int(np.count_nonzero(nonzero))
        self._taken = np.logical_or.reduce(nonzero.reshape(vectors, lanes, product.steps), axis=1)

    @property
    def block_density(self) -> float:
        """Share of the blocks of one vector of output channels by one input channel that are not all zero."""
        return float(self._taken.mean()) if self._taken.size else 1.0

    def panels(self, vectors: int) -> Panels:
        return Panels(self.product.channels, self.product.problem.target.lanes, vectors)

    def counts(self, vectors: int) -> np.ndarray:
        """Number of blocks of each panel."""
        return np.asarray(self._blocks(vectors).sum(axis=1))

    def lists(self, vectors: int) -> BlockLists:
        panels, taken = self.panels(vectors), self._blocks(vectors)
        width = vectors * panels.lanes
        parts = []
        for panel, chosen in enumerate(taken):
            part = self.product.weights[panel * width : (panel + 1) * width, chosen]
            padded = np.zeros((-(-len(part) // panels.lanes) * panels.lanes, part.shape[1]), np.float32)
            padded[: len(part)] = part
            parts.append(np.ascontiguousarray(padded.T).reshape(-1))
        starts = np.concatenate([[0], np.cumsum(taken.sum(axis=1))]).astype(np.int32)
        return BlockLists(starts, np.nonzero(taken)[1].astype(np.int32), np.concatenate(parts))

    def _blocks(self, vectors: int) -> np.ndarray:
        """(panels, steps): whether a block is taken."""
        starts = np.arange(0, len(self._taken), vectors)
        return np.asarray(np.logical_or.reduceat(self._taken, starts, axis=0))


def not_empty(array: np.ndarray) -> np.ndarray:
    """The array, or one zero in place of none: a constant lies somewhere."""
    return array if array.size else np.zeros(1, array.dtype)


@lru_cache(maxsize=8)
def sparse_product(problem: Problem) -> SparseProduct | str:
    """The product behind a problem, or why there is none or nothing to skip."""
    product = split_product(problem)
    if product.reject:
        return product.reject
    zeros = zeros_of(problem.graph.constants[problem.anchor.inputs[1]])
    if not zeros.pattern:
        return f"density {zeros.density:.2f} of the weights: no zeros to skip"
    return SparseProduct(product, zeros.density)
