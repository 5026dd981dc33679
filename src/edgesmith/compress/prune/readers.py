"""What the layers that read channels get to see, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from edgesmith.compress.batches import evaluate_each
from edgesmith.compress.prune.scoring import Scores, Scoring
from edgesmith.compress.prune.structure import Axis, Structure
from edgesmith.compress.tracing import evaluating

__all__ = ["channels_first", "mean_over_readers", "reader_axes", "watching"]


def reader_axes(structure: Structure) -> Iterator[tuple[nn.Module, Axis]]:
    """Convolutions and linear layers that read channels of some unit, with the axis of their weight that does."""
    for axis in structure.axes:
        if axis.role == "in" and bool((axis.units >= 0).any()):
            module = structure.module.get_submodule(axis.layer)
            if isinstance(module, (nn.modules.conv._ConvNd, nn.Linear)):
                yield module, axis


def channels_first(module: nn.Module, axis: Axis, x: torch.Tensor) -> torch.Tensor:
    """A layer's input as (positions of its weight's axis, samples); groups of a convolution count as samples."""
    weight = module.weight
    assert isinstance(weight, torch.Tensor)
    place = -1 if isinstance(module, nn.Linear) else x.ndim - weight.ndim + 1
    values = x.movedim(place, 0)
    return values.reshape(-1, len(axis.units), *values.shape[1:]).movedim(1, 0).reshape(len(axis.units), -1)


@contextmanager
def watching(structure: Structure, see: Callable[[nn.Module, Axis, torch.Tensor], None]) -> Iterator[None]:
    """While active, ``see`` gets every reader's input, in float32 at least, whenever the module is evaluated."""
    handles = []
    try:
        for module, axis in reader_axes(structure):

            def hook(m: nn.Module, args: Any, kwargs: Any, axis: Axis = axis) -> None:
                x = args[0] if args else kwargs["input"]
                see(m, axis, x.detach().to(torch.promote_types(x.dtype, torch.float32)))

            handles.append(module.register_forward_pre_hook(hook, with_kwargs=True))
        with evaluating(structure.module):
            yield
    finally:
        for handle in handles:
            handle.remove()


def mean_over_readers(
    scoring: Scoring, criterion: str, *statistics: Callable[[torch.Tensor], torch.Tensor]
) -> tuple[tuple[Scores, ...], npt.NDArray[np.bool_]]:
    """Means of statistics of activations, over batches, readers and a unit's channels.

    Args:
        statistics: from activations of shape (channels, samples) to one number a channel.

    Returns:
        The means, and which units a convolution or linear layer reads; the means of others are 0.

    Raises:
        BadInput: there are no data, or a batch does not fit.
    """
    units = scoring.structure.units
    totals = tuple(np.zeros(units) for _ in statistics)
    counts = np.zeros(units)

    def see(module: nn.Module, axis: Axis, x: torch.Tensor) -> None:
        values = channels_first(module, axis, x)
        some = axis.units >= 0
        for total, statistic in zip(totals, statistics, strict=True):
            weights = statistic(values).double().cpu().numpy()[some]
            total += np.bincount(axis.units[some], weights=weights, minlength=units)
        counts[:] += np.bincount(axis.units[some], minlength=units)

    with watching(scoring.structure, see):
        evaluate_each(scoring.structure.module, scoring.data, f"importance {criterion!r}")
    return tuple(total / np.maximum(counts, 1) for total in totals), counts > 0
