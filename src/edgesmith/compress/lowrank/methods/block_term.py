"""Convolutions as pointwise, grouped core and pointwise: decomposition in block terms."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any

import torch
from torch import nn

from edgesmith.compress.lowrank.blocks import Blocks, blocks
from edgesmith.compress.lowrank.least import least, spaced
from edgesmith.compress.lowrank.method import METHODS, Decomposition, Factors, Layer, Method, Ranks
from edgesmith.compress.lowrank.methods.tucker2 import pointwise_only
from edgesmith.compress.lowrank.moments import LayerMoments
from edgesmith.compress.lowrank.parts import pointwise, window
from edgesmith.compress.lowrank.tensor import TensorDecomposition
from edgesmith.errors import BadInput

__all__ = ["BlockTerm"]


class _BlockTerm(TensorDecomposition):
    def __init__(self, layer: nn.Conv2d, groups: int, moments: LayerMoments | None) -> None:
        super().__init__(layer, moments)
        self.multiple = groups
        self.limits = (layer.in_channels * groups, layer.out_channels * groups)
        self._found: dict[Ranks, Blocks] = {}

    @property
    def full(self) -> Ranks:
        outputs, inputs = self.weight.shape[:2]
        return (inputs, outputs)

    def at(self, ranks: Ranks) -> Blocks:
        if ranks not in self._found:
            inner, outer = (rank // self.multiple for rank in ranks)
            self._found[ranks] = blocks(self.weight, self.multiple, inner, outer)
        return self._found[ranks]

    def _numbers(self, ranks: Ranks) -> int:
        outputs, inputs, height, width = self.weight.shape
        inner, outer = ranks
        return int(inputs * inner + inner * outer // self.multiple * height * width + outer * outputs)

    def keeping(self, energy: float) -> Ranks | None:
        # Along the diagonal from one channel a block to all of them, while the factors are smaller than the weights.
        outputs, inputs = self.weight.shape[:2]
        steps = max(outputs, inputs)

        def at(step: int) -> Ranks:
            return ceil(inputs * step / steps) * self.multiple, ceil(outputs * step / steps) * self.multiple

        smaller = sum(self._numbers(at(step)) < self.weight.numel() for step in range(1, steps + 1))
        found = least(spaced(max(1, smaller)), lambda step: self._keeps(at(step), energy))
        return None if found is None else at(found)

    def _keeps(self, ranks: Ranks, energy: float) -> bool:
        return self.at(ranks).error ** 2 <= 1.0 - energy

    def factors(self, ranks: Ranks) -> Factors:
        found = self.at(ranks)
        weights = (
            self.whitened.restored(torch.cat([part.inputs.T for part in found.parts]))[:, :, None, None],
            torch.cat([part.core for part in found.parts]),
            torch.cat([part.outputs for part in found.parts], dim=1)[:, :, None, None],
        )
        return Factors(weights, self.bias, found.error)


@METHODS.register("block_term")
@dataclass(frozen=True)
class BlockTerm(Method):
    """Conv2d (S -> T, k x k) as 1 x 1 (S -> r), k x k of ``groups`` groups (r -> s) and 1 x 1 (s -> T).

    De Lathauwer, 2008: a sum of Tucker blocks, one a group. Ranks are (r, s) of all blocks together; they are multiples
    of ``groups`` and may exceed the channels. The ranks that keep a share of the energy are found to a sixteenth
    of the largest useful ones.

    Raises:
        BadInput: there is no group.
    """

    groups: int = 4
    name = "block_term"

    def __post_init__(self) -> None:
        if self.groups < 1:
            raise BadInput(f"groups={self.groups}", where="method 'block_term'", hint="give one group or more")

    def refuses(self, layer: Layer) -> str | None:
        return pointwise_only(layer, self.name)

    def structure(self, layer: Layer, ranks: Ranks, device: Any = None) -> nn.Sequential:
        assert isinstance(layer, nn.Conv2d)
        inner, outer = ranks
        return nn.Sequential(
            pointwise(layer, layer.in_channels, inner, device=device),
            window(layer, inner, outer, groups=self.groups, device=device),
            pointwise(layer, outer, layer.out_channels, bias=layer.bias is not None, device=device),
        )

    def decompose(self, layer: Layer, moments: LayerMoments | None = None) -> Decomposition:
        assert isinstance(layer, nn.Conv2d)
        return _BlockTerm(layer, self.groups, moments)
