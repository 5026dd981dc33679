"""Blocks of output channels by input channels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from edgesmith.compress.sparsify.pattern import PATTERNS, Pattern
from edgesmith.errors import BadInput

__all__ = ["Blocks"]


@PATTERNS.register("blocks")
@dataclass(frozen=True)
class Blocks(Pattern):
    """Blocks that a compiled product skips: at each place of the kernel, so many neighbouring outputs by inputs.

    Narang et al., arXiv:1711.02782; Elsen et al., arXiv:1911.09723. The default is a vector of outputs by one input, as
    the compiler's products with zero blocks take them. Blocks at the edge may be smaller.

    Args:
        shape: output channels, input channels.

    Raises:
        BadInput: a side is below 1.
    """

    shape: tuple[int, int] = (16, 1)

    def __post_init__(self) -> None:
        if len(self.shape) != 2 or min(self.shape) < 1:
            raise BadInput(
                f"block {self.shape}", where="pattern blocks", hint="give outputs and inputs, such as (16, 1)"
            )

    def refuses(self, shape: torch.Size) -> str | None:
        if shape[0] < self.shape[0] or shape[1] < self.shape[1]:
            return f"it has {shape[0]} x {shape[1]} channels, less than a block of {self.shape[0]} x {self.shape[1]}"
        return None

    def scores(self, weight: Tensor) -> Tensor:
        squares = weight.detach().to(torch.promote_types(weight.dtype, torch.float32)).square()
        sums, counts = self._summed(squares), self._summed(torch.ones_like(squares))
        return (sums / counts).sqrt()

    def spread(self, units: Tensor, shape: torch.Size) -> Tensor:
        outputs, inputs = shape[:2]
        wide = units.repeat_interleave(self.shape[0], 0).repeat_interleave(self.shape[1], 1)
        return wide[:outputs, :inputs]

    def _summed(self, values: Tensor) -> Tensor:
        """(blocks of outputs, blocks of inputs, ...)."""
        (rows, columns), (outputs, inputs, *window) = self.shape, values.shape
        flat = values.reshape(outputs, inputs, -1)
        padded = functional.pad(flat, (0, 0, 0, -inputs % columns, 0, -outputs % rows))
        blocks = padded.reshape(padded.shape[0] // rows, rows, padded.shape[1] // columns, columns, -1)
        return blocks.sum((1, 3)).reshape(blocks.shape[0], blocks.shape[2], *window)
