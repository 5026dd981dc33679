"""Weights in 4 bits with a scale for each block of the reduction, as they lie in memory and as they are unpacked."""

from __future__ import annotations

from functools import lru_cache
from math import prod

import numpy as np

from edgesmith.ir import View
from edgesmith.kernels.base import Problem
from edgesmith.kernels.epilogue import Epilogue
from edgesmith.kernels.tile import Panels, pack
from edgesmith.ops.block_scales import BlockMatMul

__all__ = ["CODES", "BlockProduct", "block_product", "number"]

CODES = 8
"""Weights of one channel side by side in a lane of 32 bits, the first in the lowest bits."""


class BlockProduct:
    """The product Y (rows, channels) = X (rows, steps) W behind a BlockMatMul; W has ``block`` steps to a scale.

    When ``reject`` says why there is none, nothing else is defined.
    """

    x: View
    y: View
    weights: np.ndarray
    """(channels, steps) i8 from -8 to 7."""
    scales: np.ndarray
    """(channels, blocks) f32."""
    zeros: np.ndarray | None
    """(channels, blocks) f32."""
    block: int
    """A multiple of ``CODES``, or at least the number of steps."""
    epilogue: Epilogue

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        node, graph = problem.anchor, problem.graph
        self.reject = self._obstacle()
        if self.reject is not None:
            return
        assert isinstance(node.op, BlockMatMul)
        w, scale, *zero = (graph.constants[v] for v in node.read[1:])
        shift = 8 if w.dtype == np.uint8 else 0
        weights = w.astype(np.int16) - shift
        self.block = node.op.block
        if weights.size and (weights.min() < -8 or weights.max() > 7):
            self.reject = "weights exceed 4 bits"
            return
        if self.block % CODES and self.block < len(weights):
            self.reject = f"blocks of {self.block}, needs a multiple of {CODES}"
            return
        self.weights, self.scales = np.ascontiguousarray(weights.T, np.int8), scale.T
        points = zero[0].astype(np.float32) - shift if zero else np.full(scale.shape, -shift, np.float32)
        self.zeros = np.asarray(points.T, np.float32) if points.any() else None
        x, y = (_rows(problem.view(v)) for v in (node.inputs[0], problem.region.outputs[0]))
        if x is None or y is None:
            self.reject = "rows are not evenly spaced in memory"
            return
        self.x, self.y = x, y
        if y.shape[-1] > 1 and y.strides[-1] != 1:
            self.reject = f"output channels have stride {y.strides[-1]}, vectors need 1"
            return
        self.epilogue = Epilogue(problem, 1, _rows)
        self.reject = self.epilogue.reject

    def _obstacle(self) -> str | None:
        problem = self.problem
        node = problem.anchor
        if problem.target.isa is None:
            return "needs vectors, the target is portable C"
        if not isinstance(node.op, BlockMatMul):
            return f"{node.op.name} has no scales by block"
        if any(v not in problem.graph.constants for v in node.read[1:]) or node.inputs[0] in problem.graph.constants:
            return "weights are computed at run time"
        if len(problem.region.outputs) != 1:
            return "an intermediate value is needed elsewhere"
        x = problem.view(node.inputs[0])
        return "nothing to sum" if x.rank < 2 or not x.size else None

    @property
    def rows(self) -> int:
        return self.y.shape[0]

    @property
    def channels(self) -> int:
        return self.y.shape[1]

    @property
    def steps(self) -> int:
        return self.x.shape[1]

    @property
    def groups(self) -> int:
        """Runs of ``CODES`` steps, the last of which may be shorter."""
        return -(-self.steps // CODES)

    @property
    def blocks(self) -> int:
        return int(self.scales.shape[1])

    @property
    def block_groups(self) -> int:
        """Runs of ``CODES`` steps of a block."""
        return -(-min(self.block, self.steps) // CODES)

    @property
    def step_stride(self) -> int:
        return self.x.strides[1] if self.steps > 1 else 1

    def packed(self, panels: Panels) -> list[tuple[str, np.ndarray]]:
        """The constants: for each panel, for each run of steps, a byte for every two weights of each channel.

        Scales and zero points lie in the same order, one for each block and channel.
        """
        channels, lanes = self.weights.shape[0], panels.lanes
        padded = np.zeros((-(-channels // lanes) * lanes, self.groups * CODES), np.uint8)
        padded[:channels, : self.steps] = self.weights.view(np.uint8) & 15
        pairs = padded[:, ::2] | padded[:, 1::2] << 4
        words = pairs.reshape(len(padded), self.groups, CODES // 2)
        width = panels.vectors * lanes
        parts = [words[i : i + width].transpose(1, 0, 2).reshape(-1) for i in range(0, len(words), width)]
        found = [("codes", np.concatenate(parts)), ("scales", pack(self.scales, panels))]
        return found + ([("zeros", pack(self.zeros, panels))] if self.zeros is not None else [])


def number(code: int, word: str, zero: str | None) -> str:
    """C text of the vector of the weights at a place in the words, less their zero points."""
    high = 28 - 4 * code
    found = f"es_from_i32((es_m)((es_u){word} << {high}) >> 28)" if high else f"es_from_i32({word} >> 28)"
    return f"{found} - {zero}" if zero else found


def _rows(view: View) -> View | None:
    """(rows, columns), where the rows are evenly spaced."""
    return view.reshape((prod(view.shape[:-1]), view.shape[-1])) if view.size else None


@lru_cache(maxsize=8)
def block_product(problem: Problem) -> BlockProduct:
    return BlockProduct(problem)
