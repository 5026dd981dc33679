"""A pruning problem whose best answer is known: groups cost what they compute and matter differently."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from edgesmith.compress.search import Group, Problem


class Widths(nn.Module):
    """A module that is its widths, and a weight that training counts up."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.widths = list(widths)
        self.trained = nn.Parameter(torch.zeros(sum(widths)))


class Toy:
    """Groups of channels, the cost of which is a sum of products of neighbours (as of convolutions) in steps.

    Args:
        weights: how much accuracy the channels of a group are worth.
        steps: costs rise in so many channels, as vectors are filled.
    """

    def __init__(self, channels: Sequence[int], weights: Sequence[float], steps: int = 1) -> None:
        self.channels, self.weights, self.steps = list(channels), list(weights), steps
        self.evaluated = 0
        self.costed = 0
        self.stop_after: int | None = None

    def prune(self, module: nn.Module, ratios: Mapping[str, float]) -> nn.Module:
        assert isinstance(module, Widths)
        made = copy.deepcopy(module)
        widths = [round(w * (1 - ratios.get(f"g{i}", 0.0))) for i, w in enumerate(module.widths)]
        smaller = Widths(widths)
        with torch.no_grad():
            smaller.trained.fill_(float(made.trained.mean()))
        return smaller

    def cost(self, module: nn.Module) -> float:
        assert isinstance(module, Widths)
        self.costed += 1
        full = [-(-w // self.steps) * self.steps for w in module.widths]
        return sum(a * b for a, b in zip([3, *full], [*full, 10], strict=True)) / 1000

    def evaluate(self, module: nn.Module) -> float:
        assert isinstance(module, Widths)
        if self.stop_after is not None and self.evaluated == self.stop_after:
            raise KeyboardInterrupt
        self.evaluated += 1
        kept = [w / c for w, c in zip(module.widths, self.channels, strict=True)]
        lost = sum(weight * (1 - k) ** 2 for weight, k in zip(self.weights, kept, strict=True))
        return 100.0 - lost + min(float(module.trained.detach().mean()), 5.0) * 1e-3

    def finetune(self, module: nn.Module) -> None:
        assert isinstance(module, Widths)
        with torch.no_grad():
            module.trained += 1.0

    def problem(self, share: float = 0.5, **options: Any) -> Problem:
        module = Widths(self.channels)
        step = options.pop("step", 1)
        groups = [Group(f"g{i}", c, step, features=(float(i % 2),)) for i, c in enumerate(self.channels)]
        budget = self.cost(module) * share
        return Problem(module, groups, self.prune, self.cost, budget, self.evaluate, self.finetune, **options)
