"""Training towards sparsity: terms that are added to the loss of any loop, and drive whole channels to zero."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from edgesmith.compress.prune.structure import Axis, analyse
from edgesmith.errors import BadInput

__all__ = ["GroupLasso", "ScalePenalty"]


class ScalePenalty:
    """L1 norm of the scales of batch normalisation (Liu et al. 2017, network slimming, arXiv:1708.06519).

    Raises:
        BadInput: the module has none.

    Example:
        penalty = ScalePenalty(module, 1e-4)
        loss = criterion(module(x), y) + penalty()
    """

    def __init__(self, module: nn.Module, strength: float) -> None:
        norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        self._scales = [m.weight for m in norms if isinstance(m.weight, nn.Parameter)]
        if not self._scales:
            raise BadInput("no batch normalisation has a scale", where="ScalePenalty", hint="GroupLasso needs none")
        self._strength = strength

    def __call__(self) -> torch.Tensor:
        """The term: a scalar with gradients."""
        return self._strength * torch.stack([scale.abs().sum() for scale in self._scales]).sum()


class GroupLasso:
    """Sum over prunable units of the L2 norm of all weights that go with them (Wen et al. 2016, arXiv:1608.03665).

    Norms are weighted by the root of the number of weights, so that units of all sizes shrink alike.

    Raises:
        BadInput: no channels can be pruned, or the module does not run on ``example``.

    Example:
        penalty = GroupLasso(module, example, 1e-4)
        loss = criterion(module(x), y) + penalty()
    """

    def __init__(self, module: nn.Module, example: Any, strength: float) -> None:
        structure = analyse(module, example)
        if not structure.groups:
            raise BadInput("no channels can be pruned", where="GroupLasso", hint=f"reasons: {structure.untouched[:4]}")
        owned = dict(module.named_parameters())
        device = next(iter(owned.values())).device
        self._strength, self._units = strength, structure.units
        self._axes: list[tuple[nn.Parameter, Axis, torch.Tensor, torch.Tensor]] = []
        counts = torch.zeros(structure.units, device=device)
        for axis in structure.axes:
            if axis.tensor in owned and bool((axis.units >= 0).any()):
                units = torch.from_numpy(axis.units).to(device)
                places = (units >= 0).nonzero().flatten()
                parameter = owned[axis.tensor]
                self._axes.append((parameter, axis, places, units[places]))
                each = torch.full((len(places),), parameter.numel() / len(axis.units), device=device)
                counts.index_add_(0, units[places], each)
        self._weights = counts.sqrt()

    def __call__(self) -> torch.Tensor:
        """The term: a scalar with gradients."""
        squares = torch.zeros(self._units, device=self._weights.device)
        for parameter, axis, places, units in self._axes:
            squares = squares.index_add(0, units, axis.rows(parameter)[places].float().square().sum(1))
        # The norm has no gradient at zero; a unit that is there stays there.
        return self._strength * (self._weights * (squares + 1e-12).sqrt()).sum()
