"""How much each of several teachers counts, for each example."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from edgesmith.errors import BadInput

__all__ = ["Shares", "averaged", "confident", "weighted"]

Shares = Callable[[Tensor, Tensor], Tensor]
"""From logits (K, N, C) and labels (N,) to shares (K, N) that sum to 1 over K."""


def averaged(logits: Tensor, labels: Tensor) -> Tensor:
    """All teachers count alike."""
    return logits.new_full(logits.shape[:2], 1 / len(logits))


def weighted(weights: Sequence[float]) -> Shares:
    """Fixed shares, such as by the teachers' accuracy; they are scaled to a sum of 1.

    Raises:
        BadInput: a weight below 0, or only zeros.
    """
    if not weights or min(weights) < 0 or not sum(weights) > 0:
        raise BadInput(f"weights {list(weights)}", where="teachers", hint="one for each, 0 or more, not only zeros")

    def shares(logits: Tensor, labels: Tensor) -> Tensor:
        if len(weights) != len(logits):
            raise BadInput(f"{len(weights)} weights for {len(logits)} teachers", where="teachers")
        given = logits.new_tensor(weights) / sum(weights)
        return given[:, None].expand(logits.shape[:2])

    return shares


def confident(logits: Tensor, labels: Tensor) -> Tensor:
    """By cross entropy to the label: who is wrong about an example counts less there (CA-MKD, arXiv:2201.00007).

    The share of teacher k is ``(1 - softmax_k(cross entropy)) / (K - 1)``.
    """
    count = len(logits)
    if count == 1:
        return averaged(logits, labels)
    wrong = torch.stack([functional.cross_entropy(one, labels, reduction="none") for one in logits])
    return (1 - torch.softmax(wrong, 0)) / (count - 1)
