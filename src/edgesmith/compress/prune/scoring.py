"""What criteria of importance get and give, and their registry."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn

from edgesmith.compress.batches import at_least_one
from edgesmith.compress.prune.structure import Structure
from edgesmith.compress.tracing import inputs_of
from edgesmith.compress.training.evaluate import logits_of
from edgesmith.errors import BadInput
from edgesmith.registry import Registry

__all__ = ["IMPORTANCE", "Importance", "Loss", "Scores", "Scoring", "cross_entropy"]

Scores = npt.NDArray[np.float64]
"""One number a unit; less means that it can go."""

Loss = Callable[[nn.Module, Any], torch.Tensor]
"""The loss of a batch, a scalar with gradients."""


@dataclass(frozen=True)
class Scoring:
    """What a criterion may look at.

    Attributes:
        data: batches, as ``loss`` understands them; for criteria that look at activations, inputs or tuples that start
            with the inputs. None where the user gave none.
    """

    structure: Structure
    data: Iterable[Any] | None
    loss: Loss
    seed: int = 0

    def batches(self, criterion: str) -> Iterable[Any]:
        """The data.

        Raises:
            BadInput: there are none.
        """
        return at_least_one(self.data, f"importance {criterion!r}")

    def per_unit(self, per_element: Callable[[str, torch.Tensor], torch.Tensor], roles: tuple[str, ...]) -> Scores:
        """Sum over all elements that go with a unit, along axes of the given roles.

        Args:
            per_element: from a parameter's name and values, in float32 at least, to numbers of the same shape.
        """
        totals = np.zeros(self.structure.units)
        parameters = dict(self.structure.module.named_parameters())
        for axis in self.structure.axes:
            if axis.role not in roles or axis.tensor not in parameters:
                continue
            values = parameters[axis.tensor].detach()
            values = per_element(axis.tensor, values.to(torch.promote_types(values.dtype, torch.float32)))
            along = axis.rows(values).sum(1).double().cpu().numpy()
            some = axis.units >= 0
            totals += np.bincount(axis.units[some], weights=along[some], minlength=self.structure.units)
        return totals

    def completed(self, scores: Scores, seen: npt.NDArray[np.bool_]) -> Scores:
        """Scores with those of units that a criterion cannot see.

        They get the mean of all that are seen, 1 if none is, times their L1 norm relative to their group's mean.
        """
        scores = scores.copy()
        typical = float(scores[seen].mean()) if seen.any() else 1.0
        norms = self.per_unit(lambda _, values: values.abs(), ("out", "in", "scale"))
        for group in self.structure.groups:
            unseen = group.units[~seen[group.units]]
            scores[unseen] = typical * norms[unseen] / max(float(norms[group.units].mean()), 1e-30)
        return scores


Importance = Callable[[Scoring], Scores]
IMPORTANCE: Registry[Importance] = Registry("importance", "edgesmith.compress.prune.importance")


def cross_entropy(module: nn.Module, batch: Any) -> torch.Tensor:
    """Cross-entropy of logits (the first output of several), for batches (inputs, class numbers)."""
    if not isinstance(batch, (tuple, list)) or len(batch) < 2:
        raise BadInput("a batch without labels", where="loss", hint="pass loss=, a function of module and batch")
    return F.cross_entropy(logits_of(module(*inputs_of(module, batch))), batch[-1])
