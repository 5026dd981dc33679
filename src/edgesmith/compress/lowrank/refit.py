"""The last of a chain of factors, fitted by least squares to what the replaced layer puts out on calibration data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from edgesmith.compress.batches import evaluate_each
from edgesmith.compress.lowrank.method import Layer
from edgesmith.compress.lowrank.moments import Moments, rows_of
from edgesmith.compress.tracing import evaluating

__all__ = ["refit"]

Key = TypeVar("Key")

RIDGE = 1e-6
"""Penalty on the change of the weights, as a share of the mean energy of the last factor's inputs."""


def refit(
    module: nn.Module, factored: Mapping[Key, tuple[Layer, nn.Sequential]], batches: Iterable[Any]
) -> dict[Key, float]:
    """Change the last factors in place; the relative output error that remains, for each that the data reaches.

    The mean square error on the data never grows, as the change is penalised and no change is one of the choices.

    Args:
        module: the network, with the layers in their places.
        factored: each layer, and the chain of convolutions or Linear layers that is to replace it.
        batches: each one input, or a tuple of inputs.

    Raises:
        BadInput: there are no batches, or the module does not run on one.
    """
    sums = {name: _Sums(layer, chain) for name, (layer, chain) in factored.items()}
    with ExitStack() as hooks:
        for name, (layer, _) in factored.items():
            hooks.callback(layer.register_forward_hook(sums[name].hook).remove)
        hooks.enter_context(evaluating(module))
        evaluate_each(module, batches, "data")
    return {name: each.fit() for name, each in sums.items() if each.seen}


class _Sums:
    """Moments of the last factor's inputs, in windows of its kernel, next to the layer's outputs."""

    def __init__(self, layer: Layer, chain: nn.Sequential) -> None:
        self._layer, self._last = layer, chain[-1]
        assert isinstance(self._last, nn.Linear | nn.Conv2d)
        self._windows = nn.Sequential(*list(chain)[:-1], _windows(self._last))
        self._moments: Moments | None = None

    def hook(self, _module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        regressors = rows_of(self._windows(inputs[0]), self._layer)
        rows = torch.cat([regressors, rows_of(output, self._layer)], dim=1)
        if self._moments is None:
            self._moments = Moments.none(rows.shape[1], rows.device)
        self._moments.add(rows)

    @property
    def seen(self) -> bool:
        return self._moments is not None

    def fit(self) -> float:
        assert self._moments is not None
        last, moments = self._last, self._moments
        assert isinstance(last, nn.Linear | nn.Conv2d)
        weight = last.weight.detach().double().flatten(1)
        columns = weight.shape[1]
        second = moments.spread(last.bias is not None)
        inner, cross = second[:columns, :columns], second[:columns, columns:]
        outer = float(second[columns:, columns:].trace())
        penalty = RIDGE * max(float(inner.trace()) / columns, torch.finfo(torch.float64).tiny)
        regular = inner + penalty * torch.eye(columns, dtype=inner.dtype, device=inner.device)
        fitted = weight + torch.linalg.solve(regular, cross - inner @ weight.T).T
        lost = outer - 2 * float((fitted * cross.T).sum()) + float(((fitted @ inner) * fitted).sum())
        with torch.no_grad():
            last.weight.copy_(fitted.reshape(last.weight.shape))
            if last.bias is not None:
                last.bias.copy_(moments.mean[columns:] - fitted @ moments.mean[:columns])
        return (max(lost, 0.0) / outer) ** 0.5 if outer > 0 else 0.0


def _windows(last: Layer) -> nn.Module:
    """What a layer multiplies with its weights: a Linear layer its inputs, a convolution its windows, as channels."""
    if isinstance(last, nn.Linear):
        return nn.Identity()
    columns = last.weight[0].numel()
    unfold = nn.Conv2d(
        last.in_channels,
        columns,
        _pair(last.kernel_size),
        stride=_pair(last.stride),
        padding=last.padding if isinstance(last.padding, str) else _pair(last.padding),
        dilation=_pair(last.dilation),
        bias=False,
        padding_mode=last.padding_mode,
        device=last.weight.device,
        dtype=last.weight.dtype,
    )
    with torch.no_grad():
        unfold.weight.copy_(torch.eye(columns, device=unfold.weight.device).reshape(unfold.weight.shape))
    return unfold


def _pair(values: tuple[int, ...]) -> tuple[int, int]:
    first, second = values
    return first, second
