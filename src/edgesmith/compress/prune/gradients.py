"""Gradients of a loss, batch by batch, without touching the module's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from edgesmith.compress.batches import each_batch
from edgesmith.compress.prune.scoring import Scoring

__all__ = ["gradients"]


def gradients(scoring: Scoring, criterion: str) -> Iterator[Mapping[str, torch.Tensor]]:
    """Gradients of the loss by parameter name, for every batch, in evaluation mode; zero where the loss has none.

    Raises:
        BadInput: there are no data, or the loss of a batch fails.
    """
    module = scoring.structure.module
    modes = [(m, m.training) for m in module.modules()]
    frozen = [p for p in module.parameters() if not p.requires_grad and p.is_floating_point()]
    module.eval()
    try:
        for parameter in frozen:
            parameter.requires_grad_(True)
        named = {name: p for name, p in module.named_parameters() if p.is_floating_point()}

        def of_batch(batch: Any) -> tuple[torch.Tensor | None, ...]:
            with torch.enable_grad():
                return torch.autograd.grad(scoring.loss(module, batch), list(named.values()), allow_unused=True)

        for found in each_batch(of_batch, scoring.data, f"importance {criterion!r}"):
            yield {
                name: torch.zeros_like(parameter) if gradient is None else gradient
                for (name, parameter), gradient in zip(named.items(), found, strict=True)
            }
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)
        for submodule, training in modes:
            submodule.training = training
