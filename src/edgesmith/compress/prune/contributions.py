"""How much of the next layers' outputs each unit of a group makes up: inner products of sampled contributions."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn

from edgesmith.compress.batches import evaluate_each
from edgesmith.compress.prune.readers import watching
from edgesmith.compress.prune.structure import Axis, Structure

__all__ = ["grams"]

_SAMPLES = 256


def grams(
    structure: Structure, data: Iterable[Any] | None, where: str, seed: int = 0, *, centred: bool = False
) -> list[npt.NDArray[np.float64] | None]:
    """For every group, the Gram matrix of its units' contributions to outputs of the layers that read it.

    Outputs are sampled (places and channels); each reading layer counts by the mean square of its outputs. Convolutions
    that are not transposed and linear layers are looked at.

    Args:
        where: what needs the data, for errors.
        centred: contributions count from their means, which a bias can make up for.

    Returns:
        One matrix of shape (units, units) a group; None where nothing that is looked at reads it.

    Raises:
        BadInput: there are no data, or a batch does not fit.
    """
    found: list[npt.NDArray[np.float64] | None] = [None] * len(structure.groups)
    local = np.zeros(structure.units, dtype=np.int64)
    owner = np.full(structure.units + 1, -1, dtype=np.int64)
    for i, group in enumerate(structure.groups):
        local[group.units], owner[group.units] = np.arange(group.size), i
    generator = torch.Generator("cpu").manual_seed(seed)

    def see(module: nn.Module, axis: Axis, x: torch.Tensor) -> None:
        parts = _sampled(module, _from_means(module, x) if centred else x, generator)
        if parts is None:
            return
        values = parts.double().cpu()
        values = values / values.sum(1, keepdim=True).square().mean().sqrt().clamp_min(1e-12)
        units = np.tile(axis.units, values.shape[1] // len(axis.units))  # groups of a convolution may read coupled ones
        for i in np.unique(owner[units[units >= 0]]).tolist():
            mine = np.flatnonzero((units >= 0) & (owner[units] == i))
            by_unit = values.new_zeros(len(values), structure.groups[i].size)
            by_unit.index_add_(1, torch.from_numpy(local[units[mine]]), values[:, mine])
            gram = (by_unit.T @ by_unit).numpy() / len(values)
            before = found[i]
            found[i] = gram if before is None else before + gram

    with watching(structure, see):
        evaluate_each(structure.module, data, where)
    return found


def _from_means(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """A layer's input, every channel from its mean."""
    weight: Any = module.weight
    place = -1 if isinstance(module, nn.Linear) else x.ndim - weight.ndim + 1
    return x - x.mean([axis for axis in range(x.ndim) if axis != place % x.ndim], keepdim=True)


def _sampled(module: nn.Module, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor | None:
    """Contributions of input channels to sampled outputs, shape (samples, input channels)."""
    if isinstance(module, nn.Linear):
        rows = x.reshape(-1, x.shape[-1])
        weight = module.weight.detach().to(x.dtype)
        picks = torch.randint(len(rows), (_SAMPLES,), generator=generator, device="cpu").to(x.device)
        outs = torch.randint(len(weight), (_SAMPLES,), generator=generator, device="cpu").to(x.device)
        return rows[picks] * weight[outs]
    if not isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        return None
    weight = module.weight.detach().to(x.dtype)
    kernel = weight.shape[2:]
    x = _padded(module, x if x.ndim == weight.ndim else x[None])
    places = [
        torch.randint(max(1, size - dilation * (k - 1)), (_SAMPLES,), generator=generator, device="cpu")
        // stride
        * stride
        for size, k, stride, dilation in zip(x.shape[2:], kernel, module.stride, module.dilation, strict=True)
    ]
    images = torch.randint(len(x), (_SAMPLES,), generator=generator, device="cpu")
    outs = torch.randint(len(weight), (_SAMPLES,), generator=generator, device="cpu")
    groups = module.groups
    group = outs // (len(weight) // groups)
    x = x.reshape(len(x), groups, -1, *x.shape[2:])
    total = x.new_zeros(_SAMPLES, weight.shape[1])
    for offset in product(*map(range, kernel)):
        here = [place + i * dilation for place, i, dilation in zip(places, offset, module.dilation, strict=True)]
        values: Any = (images, group, slice(None), *here)
        weights: Any = (outs, slice(None), *offset)
        total += x[values] * weight[weights]
    every = x.new_zeros(_SAMPLES, groups, weight.shape[1])
    every[torch.arange(_SAMPLES), group] = total
    return every.flatten(1)


def _padded(module: nn.Conv1d | nn.Conv2d | nn.Conv3d, x: torch.Tensor) -> torch.Tensor:
    """A convolution's input with its padding around it."""
    pads: list[int] = []
    for axis in reversed(range(len(module.kernel_size))):
        if isinstance(module.padding, str):
            both = module.dilation[axis] * (module.kernel_size[axis] - 1) if module.padding == "same" else 0
            pads += [both // 2, both - both // 2]
        else:
            pads += [module.padding[axis]] * 2
    return F.pad(x, pads, "constant" if module.padding_mode == "zeros" else module.padding_mode)
