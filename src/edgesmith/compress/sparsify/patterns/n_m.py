"""N of M neighbouring input channels."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor
from torch.nn import functional

from edgesmith.compress.sparsify.pattern import PATTERNS, Pattern
from edgesmith.errors import BadInput

__all__ = ["NM"]


@PATTERNS.register("n_m")
@dataclass(frozen=True)
class NM(Pattern):
    """At most ``n`` of each ``m`` neighbouring input channels are not zero, for every output and place of the kernel.

    Mishra et al., arXiv:2104.08378. A last group of fewer than ``m`` channels keeps as many of them. On the way to its
    density, the number kept in a group falls to ``n``.

    Raises:
        BadInput: ``n`` is not from 1 to ``m`` - 1.
    """

    n: int = 2
    m: int = 4
    may_be_global = False

    def __post_init__(self) -> None:
        if not 0 < self.n < self.m:
            raise BadInput(f"{self.n} of {self.m}", where="pattern n_m", hint="give n from 1 to m - 1, such as 2 of 4")

    def refuses(self, shape: torch.Size) -> str | None:
        return f"it has {shape[1]} input channels, less than {self.m}" if shape[1] < self.m else None

    def scores(self, weight: Tensor) -> Tensor:
        return weight.detach().abs()

    def chosen(self, scores: Tensor, density: float) -> Tensor:
        kept = max(self.n, ceil(density * self.m - 1e-9))
        inputs = scores.shape[1]
        last = scores.movedim(1, -1)
        padded = functional.pad(last, (0, -inputs % self.m), value=-1.0)
        groups = padded.reshape(*padded.shape[:-1], -1, self.m)
        order = groups.argsort(dim=-1, descending=True, stable=True)
        taken = torch.zeros_like(groups, dtype=torch.bool).scatter_(-1, order[..., :kept], True)
        return taken.flatten(-2)[..., :inputs].movedim(-1, 1)

    def spread(self, units: Tensor, shape: torch.Size) -> Tensor:
        return units

    def final_density(self, density: float | None) -> float:
        if density is not None:
            raise BadInput(f"{self.n} of {self.m} is a density itself", where="Sparsifier", hint="leave density out")
        return self.n / self.m
