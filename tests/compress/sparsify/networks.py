"""A small network and steps of its training."""

from __future__ import annotations

import torch
from torch import nn


def network() -> nn.Sequential:
    """For inputs (n, 8, 6, 6)."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(8, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1, groups=32),
        nn.Conv2d(32, 40, 1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(40, 20),
    )


LAYERS = ("0", "4", "8")


def momentum(module: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3)


def train(
    module: nn.Module, optimizer: torch.optim.Optimizer, steps: int, sparsifier=None, seed: int = 1
) -> list[float]:
    """The losses."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(16, 8, 6, 6, generator=generator)
    y = torch.randint(0, 20, (16,), generator=generator)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(module(x), y)
        loss.backward()
        optimizer.step()
        if sparsifier is not None:
            sparsifier.step()
        losses.append(loss.item())
    return losses
