"""How much of the next layers' outputs each unit of a group makes up: inner products of sampled contributions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn

from edgesmith.compress.prune.readers import watching
from edgesmith.compress.prune.structure import Axis, Structure
from edgesmith.compress.tracing import inputs_of

__all__ = ["grams"]

_SAMPLES = 256


def grams(structure: Structure, data: Iterable[Any], seed: int = 0) -> list[npt.NDArray[np.float64]]:
    """For every group, the Gram matrix of its units' contributions to outputs of the layers that read it.

    Outputs are sampled (places and channels); each reading layer counts by the mean square of its outputs. Dense
    convolutions in two dimensions and linear layers are looked at.

    Returns:
        One matrix of shape (units, units) a group; zero where nothing that is looked at reads it.
    """
    found = [np.zeros((g.size, g.size)) for g in structure.groups]
    local = np.zeros(structure.units, dtype=np.int64)
    owner = np.full(structure.units + 1, -1, dtype=np.int64)
    for i, group in enumerate(structure.groups):
        local[group.units], owner[group.units] = np.arange(group.size), i
    generator = torch.Generator("cpu").manual_seed(seed)

    def see(module: nn.Module, axis: Axis, x: torch.Tensor) -> None:
        parts = _sampled(module, x, generator)
        if parts is None:
            return
        values = parts.double().cpu()
        values = values / values.sum(1, keepdim=True).square().mean().sqrt().clamp_min(1e-12)
        for i in np.unique(owner[axis.units[axis.units >= 0]]).tolist():
            mine = np.flatnonzero((axis.units >= 0) & (owner[axis.units] == i))
            size = structure.groups[i].size
            by_unit = values.new_zeros(len(values), size)
            by_unit.index_add_(1, torch.from_numpy(local[axis.units[mine]]), values[:, mine])
            found[i] += (by_unit.T @ by_unit).numpy() / len(values)

    with watching(structure, see):
        for batch in data:
            structure.module(*inputs_of(structure.module, batch))
    return found


def _sampled(module: nn.Module, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor | None:
    """Contributions of input channels to sampled outputs, shape (samples, input channels)."""
    if isinstance(module, nn.Linear):
        rows = x.reshape(-1, x.shape[-1])
        weight = module.weight.detach().to(x.dtype)
        picks = torch.randint(len(rows), (_SAMPLES,), generator=generator, device="cpu").to(x.device)
        outs = torch.randint(len(weight), (_SAMPLES,), generator=generator, device="cpu").to(x.device)
        return rows[picks] * weight[outs]
    if not isinstance(module, nn.Conv2d) or module.groups != 1 or isinstance(module.padding, str) or x.ndim != 4:
        return None
    weight = module.weight.detach().to(x.dtype)
    kernel = weight.shape[2:]
    pads = [p for size in reversed(module.padding) for p in (size, size)]
    x = F.pad(x, pads)
    places = [
        torch.randint(
            max(1, x.shape[2 + i] - module.dilation[i] * (kernel[i] - 1)),
            (_SAMPLES,),
            generator=generator,
            device="cpu",
        )
        // module.stride[i]
        * module.stride[i]
        for i in range(2)
    ]
    images = torch.randint(len(x), (_SAMPLES,), generator=generator, device="cpu")
    outs = torch.randint(len(weight), (_SAMPLES,), generator=generator, device="cpu").to(x.device)
    total = x.new_zeros(_SAMPLES, weight.shape[1])
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            rows, columns = places[0] + i * module.dilation[0], places[1] + j * module.dilation[1]
            total += x[images, :, rows, columns] * weight[outs, :, i, j]
    return total
