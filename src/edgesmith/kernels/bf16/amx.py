"""Products of bf16 in tile registers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from edgesmith.c.tiles import MAX_ROWS
from edgesmith.ir import DType, Node, TensorType
from edgesmith.kernels.base import Problem, Schedule, kernel
from edgesmith.kernels.bf16.window import BF16Window, bf16_window
from edgesmith.kernels.rounding import gamma
from edgesmith.kernels.tile_lines import TileKernel, TileSums
from edgesmith.kernels.tile_products import TileDot
from edgesmith.ops import Operator
from edgesmith.ops.conv import Conv
from edgesmith.ops.gemm import Gemm
from edgesmith.ops.matmul import MatMul

PAIRS = TileDot(
    "dot2_bf16",
    group=2,
    element=DType.BF16,
    weight=DType.BF16,
    sum=DType.F32,
    repeat="es_pair((const int16_t *)({0}))",
    load="es_pairs_i16((const int16_t *)({0}))",
    add="es_fma((es_v)({1} & ~0xffff), (es_v)({2} & ~0xffff), "
    "es_fma((es_v)((es_u){1} << 16), (es_v)((es_u){2} << 16), {0}))",
    plus="({0} + {1})",
    exact_runs=True,
)
TINY = 2.0**-126
"""Smaller numbers count as 0 in tiles."""
FURTHER_ROUNDINGS = 3
"""Tiles sum even and odd terms apart, then add both sums, then add that to the sums before; and the bias comes last."""


@kernel
class BF16Amx(TileKernel):
    """Sums in f32 of products of bf16, which are exact."""

    name: ClassVar[str] = "bf16-amx"

    operators: ClassVar[tuple[type[Operator], ...]] = (Conv, Gemm, MatMul)
    dot: ClassVar[TileDot] = PAIRS

    def window(self, problem: Problem) -> BF16Window:
        return bf16_window(problem)

    def sums(self, problem: Problem) -> TileSums:
        window = self.window(problem)
        bias = np.zeros(-(-window.channels // MAX_ROWS) * MAX_ROWS, np.float32)
        if window.bias is not None:
            bias[: window.channels] = window.bias.reshape(-1)
        return TileSums(window, PAIRS, bias)

    def rounding(self, node: Node, operands: Sequence[np.ndarray | None], schedule: Schedule) -> np.ndarray:
        """The bound of a sum in any order, and what is lost where numbers below 2**-126 count as 0.

        A term x w is lost where x or w is so small, at most 2**-126 (|x| + |w|), and each partial sum may be.
        """
        x, weights = (np.abs(a.astype(np.float64)) for a in operands[:2] if a is not None)
        bias = operands[2] if len(operands) > 2 else None
        magnitude = None if bias is None else np.abs(bias.astype(np.float64))
        n = node.op.reduction_length([TensorType.of(a) for a in (x, weights)])
        (sums,) = node.op.reference(x, weights, *(() if magnitude is None else (magnitude,)))
        (inputs,) = node.op.reference(x, np.ones_like(weights))
        (factors,) = node.op.reference(np.ones_like(x), weights)
        lost = TINY * (inputs + factors + n + FURTHER_ROUNDINGS)
        return np.asarray(gamma(n + FURTHER_ROUNDINGS, DType.F32) * sums + lost)
