"""Repairing without training: what removed channels gave on average goes into the next layer's bias, and more."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import nn

from edgesmith.compress.prune.batches import at_least_one
from edgesmith.compress.prune.contributions import grams
from edgesmith.compress.prune.readers import channels_first, reader_axes, watching
from edgesmith.compress.prune.structure import Kept, Structure
from edgesmith.compress.tracing import inputs_of

__all__ = ["compensate", "recalibrate", "rescale"]


def recalibrate(module: nn.Module, batches: Iterable[Any]) -> None:
    """Measure the statistics of all batch normalisations anew, in place; everything else is evaluated as usual.

    Args:
        batches: inputs, or tuples that start with the inputs; some hundred pictures do.

    Raises:
        BadInput: there are none.

    After this or any other error the statistics are as before.
    """
    batches = at_least_one(batches, "recalibrate")
    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    modes = [(m, m.training) for m in module.modules()]
    momenta = [m.momentum for m in norms]
    before = [(buffer, buffer.clone()) for norm in norms for buffer in norm.buffers(recurse=False)]
    module.eval()
    try:
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # plain mean over batches
            norm.training = True
        with torch.no_grad():
            for batch in batches:
                module(*inputs_of(module, batch))
    except BaseException:
        for buffer, values in before:
            buffer.copy_(values)
        raise
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for submodule, training in modes:
            submodule.training = training


def compensate(structure: Structure, kept: Kept, pruned: nn.Module, data: Iterable[Any]) -> None:
    """Add to layers that read removed channels what these contributed on average, in place.

    It goes into the layer's bias; without one, into the running mean of a batch normalisation that alone follows.

    Args:
        structure: of the original module, which is evaluated on ``data``.
        pruned: what ``cut`` made of it.
    """
    stays = structure.mask(kept)
    sums: dict[str, torch.Tensor] = {}
    counts: dict[str, int] = {}

    def see(module: nn.Module, axis: Any, x: torch.Tensor) -> None:
        values = channels_first(module, axis, x)
        sums[axis.tensor] = sums.get(axis.tensor, 0) + values.double().sum(1)
        counts[axis.tensor] = counts.get(axis.tensor, 0) + values.shape[1]

    with watching(structure, see):
        for batch in at_least_one(data, "compensate"):
            structure.module(*inputs_of(structure.module, batch))
    outputs = {a.tensor: a for a in structure.axes if a.role == "out"}
    for module, axis in reader_axes(structure):
        gone = (axis.units >= 0) & ~stays[axis.units]
        dense = isinstance(module, nn.Linear) or (getattr(module, "groups", 0) == 1 and axis.axis == 1)
        if axis.tensor not in sums or not gone.any() or not dense:
            continue
        mean = (sums[axis.tensor] / counts[axis.tensor]) * torch.from_numpy(gone).to(sums[axis.tensor].device)
        assert isinstance(module.weight, torch.Tensor)
        weight = module.weight.detach().double()
        shift = torch.einsum("oik,i->o", weight.reshape(*weight.shape[:2], -1), mean)
        out = outputs.get(axis.tensor)
        if out is not None:
            shift = shift[torch.from_numpy((out.units < 0) | stays[out.units]).to(shift.device)]
        _add(structure, pruned, axis.layer, shift)


def _add(structure: Structure, pruned: nn.Module, layer: str, shift: torch.Tensor) -> None:
    reader = pruned.get_submodule(layer)
    if isinstance(reader.bias, torch.Tensor):
        with torch.no_grad():
            reader.bias += shift.to(reader.bias)
        return
    graph = structure.propagation.traced.graph.graph
    followers = [
        user for node in graph.nodes if node.op == "call_module" and node.target == layer for user in node.users
    ]
    if len(followers) == 1 and followers[0].op == "call_module":
        norm = pruned.get_submodule(str(followers[0].target))
        if isinstance(norm, nn.modules.batchnorm._BatchNorm) and norm.running_mean is not None:
            norm.running_mean -= shift.to(norm.running_mean)


def rescale(structure: Structure, kept: Kept, pruned: nn.Module, data: Iterable[Any], seed: int = 0) -> None:
    """Scale the weights that read each kept unit so that outputs of the reading layers change least, in place.

    Least squares over sampled outputs, slightly regularised towards 1 (ThiNet, arXiv:1707.06342, section 3.3).
    """
    scale = np.ones(structure.units)
    for group, gram in zip(structure.groups, grams(structure, data, seed), strict=True):
        own = np.asarray(kept.get(group.name, np.arange(group.size)))
        if len(own) == group.size or not gram.any():
            continue
        part = gram[np.ix_(own, own)]
        ridge = 1e-2 * np.trace(part) / len(own)
        target = gram[own].sum(1) + ridge
        scale[group.units[own]] = np.linalg.solve(part + ridge * np.eye(len(own)), target)
    stays = structure.mask(kept)
    for _, axis in reader_axes(structure):
        if axis.blocks > 1:
            continue
        left = axis.units[(axis.units < 0) | stays[axis.units]]
        factors = torch.from_numpy(np.where(left >= 0, scale[left], 1.0))
        weight = pruned.get_submodule(axis.layer).weight
        assert isinstance(weight, torch.Tensor)
        shape = [1] * weight.ndim
        shape[axis.axis] = -1
        with torch.no_grad():
            weight *= factors.to(weight).reshape(shape)
