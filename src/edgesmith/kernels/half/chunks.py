"""Sums of products of fp16: a few terms in fp16, then in f32.

A sum in fp16 loses half a unit of 11 bits at each step. So a long one is cut into chunks, each of which is summed in
fp16 by fused multiply-adds, widened, and added to a sum in f32. Its error is that of a sum in fp16 of the terms of one
chunk, however long it is as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgesmith.ir import DType, Node, TensorType
from edgesmith.kernels.rounding import gamma

__all__ = ["LONGEST", "Chunks", "rounding_of_chunks"]

LONGEST = 128
"""Terms that are summed in fp16."""
STEPS = 8
"""Terms of a vector of inputs: chunks end where vectors do."""
TINY = 2.0**-25
"""Rounding error of a number too small for the 11 bits of fp16."""


@dataclass(frozen=True)
class Chunks:
    """How the reduction of a product is cut.

    Args:
        lines, runs: kernel lines, and runs of neighbouring terms in each.
        run: terms of a run.
    """

    lines: int
    runs: int
    run: int

    @property
    def single(self) -> bool:
        """Whether all of it is one chunk."""
        return self.lines * self.runs * self.run <= LONGEST

    @property
    def together(self) -> int:
        """Kernel lines of a chunk; 0: chunks are runs or parts of them."""
        return LONGEST // (self.runs * self.run) if self.runs * self.run <= LONGEST else 0

    @property
    def part(self) -> int:
        """Terms of all but the last chunk of a run."""
        parts = -(-self.run // LONGEST)
        return -(-self.run // (parts * STEPS)) * STEPS if parts > 1 else self.run

    @property
    def count(self) -> int:
        if self.single:
            return 1
        return -(-self.lines // self.together) if self.together else self.lines * self.runs * -(-self.run // self.part)


def rounding_of_chunks(node: Node, operands: Sequence[np.ndarray | None], longest: int = LONGEST) -> np.ndarray:
    """Bound of the rounding error of a product that is summed so, in any order, for each element.

    The terms of a chunk and what it starts with (nothing, or the bias rounded to fp16) are rounded as a sum in fp16;
    the chunks and the bias as a sum in f32. Near 0 a rounding costs ``TINY`` at most, each time.
    """
    x, weights = (np.abs(a.astype(np.float64)) for a in operands[:2] if a is not None)
    bias = operands[2] if len(operands) > 2 else None
    n = node.op.reduction_length([TensorType.of(a) for a in (x, weights)])
    (sums,) = node.op.reference(x, weights, *(() if bias is None else (np.abs(bias.astype(np.float64)),)))
    in_halves = gamma(min(n, longest) + 2, DType.F16)
    in_floats = gamma(-(-n // STEPS) + 2, DType.F32)
    return np.asarray((in_halves + in_floats) * sums + (n + 2) * TINY)
