"""Optimisers whose weight decay leaves biases and normalisations alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from edgesmith.compress.training.settings import Settings

__all__ = ["build_optimiser", "parameter_groups"]


def parameter_groups(modules: Iterable[nn.Module], weight_decay: float) -> list[dict[str, Any]]:
    """Two groups for an optimiser: weights of two or more dimensions, and the rest without weight decay.

    A module may name parameters of its own for the second group in ``without_weight_decay``.
    """
    trained: dict[int, nn.Parameter] = {}
    spared: set[int] = set()
    for module in modules:
        trained.update((id(p), p) for p in module.parameters() if p.requires_grad)
        for part in module.modules():
            spared |= {id(part._parameters.get(name)) for name in getattr(part, "without_weight_decay", ())}
    decayed = {key for key, p in trained.items() if p.ndim > 1 and key not in spared}
    groups = (
        {"params": [p for key, p in trained.items() if key in decayed], "weight_decay": weight_decay},
        {"params": [p for key, p in trained.items() if key not in decayed], "weight_decay": 0.0},
    )
    return [group for group in groups if group["params"]]


def build_optimiser(modules: Iterable[nn.Module], settings: Settings) -> torch.optim.Optimizer:
    """The optimiser that the settings name, for all parameters that take gradients."""
    groups = parameter_groups(modules, settings.weight_decay)
    if settings.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=settings.lr, momentum=settings.momentum, nesterov=settings.momentum > 0)
    return torch.optim.AdamW(groups, lr=settings.lr, betas=(settings.momentum, 0.999))
