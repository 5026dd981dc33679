"""Repairing without training: what removed channels gave on average goes into the next layer's bias, and more."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import nn

from edgesmith.compress.batches import evaluate_each
from edgesmith.compress.prune.contributions import grams
from edgesmith.compress.prune.readers import channels_first, reader_axes, watching
from edgesmith.compress.prune.structure import Kept, Structure

__all__ = ["compensate", "recalibrate", "rescale"]


def recalibrate(module: nn.Module, batches: Iterable[Any]) -> None:
    """Measure the statistics of all batch normalisations anew, in place; everything else is evaluated as usual.

    Args:
        batches: inputs, or tuples that start with the inputs; some hundred pictures do.

    Raises:
        BadInput: there are none, or one does not fit.

    After this or any other error the statistics are as before.
    """
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
            evaluate_each(module, batches, "recalibrate")
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
    """Add to layers that read removed channels what they give less on average than before, in place.

    That is what these channels contributed, but for what ``rescale`` has made up for. It goes into the layer's bias;
    without one, into the running mean of a batch normalisation that alone follows.

    Args:
        structure: of the original module, which is evaluated on ``data``.
        pruned: what ``cut`` made of it, and ``rescale`` perhaps.

    Raises:
        BadInput: there are no data, or a batch does not fit.
    """
    stays = structure.mask(kept)
    sums: dict[str, torch.Tensor] = {}
    counts: dict[str, int] = {}

    def see(module: nn.Module, axis: Any, x: torch.Tensor) -> None:
        values = channels_first(module, axis, x)
        sums[axis.tensor] = sums.get(axis.tensor, 0) + values.double().sum(1)
        counts[axis.tensor] = counts.get(axis.tensor, 0) + values.shape[1]

    with watching(structure, see):
        evaluate_each(structure.module, data, "compensate")
    outputs = {a.tensor: a for a in structure.axes if a.role == "out"}
    for module, axis in reader_axes(structure):
        gone = (axis.units >= 0) & ~stays[axis.units]
        dense = isinstance(module, nn.Linear) or (getattr(module, "groups", 0) == 1 and axis.axis == 1)
        if axis.tensor not in sums or not gone.any() or not dense:
            continue
        mean = sums[axis.tensor] / counts[axis.tensor]
        before = _products(module, mean)
        out = outputs.get(axis.tensor)
        if out is not None:
            before = before[torch.from_numpy((out.units < 0) | stays[out.units]).to(mean.device)]
        after = _products(pruned.get_submodule(axis.layer), mean[torch.from_numpy(~gone).to(mean.device)])
        _add(structure, pruned, axis.layer, before - after)


def _products(reader: nn.Module, means: torch.Tensor) -> torch.Tensor:
    """What channels of these means contribute to each output of a dense layer, on average."""
    assert isinstance(reader.weight, torch.Tensor)
    weight = reader.weight.detach().double()
    return weight.reshape(*weight.shape[:2], -1).sum(2) @ means


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


def rescale(
    structure: Structure, kept: Kept, pruned: nn.Module, data: Iterable[Any], seed: int = 0, *, centred: bool = False
) -> None:
    """Scale the weights that read each kept unit so that outputs of the reading layers change least, in place.

    Least squares over sampled outputs, slightly regularised towards 1 (ThiNet, arXiv:1707.06342, section 3.3).

    Args:
        centred: outputs change least but for their means, which ``compensate`` then sets right; ``prune`` does both.

    Raises:
        BadInput: there are no data, or a batch does not fit.
    """
    stays = structure.mask(kept)
    scale = np.ones(structure.units)
    for group, gram in zip(structure.groups, grams(structure, data, "rescale", seed, centred=centred), strict=True):
        own = np.flatnonzero(stays[group.units])
        if len(own) == group.size or gram is None or not gram.any():
            continue
        part = gram[np.ix_(own, own)]
        ridge = 1e-2 * np.trace(part) / len(own)
        target = gram[own].sum(1) + ridge
        scale[group.units[own]] = np.linalg.solve(part + ridge * np.eye(len(own)), target)
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
