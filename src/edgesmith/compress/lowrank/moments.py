"""First and second moments of what goes into layers and comes out of them on calibration data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from edgesmith.compress.batches import evaluate_each
from edgesmith.compress.tracing import evaluating
from edgesmith.errors import BadInput

__all__ = ["LayerMoments", "Moments", "layer_moments", "rows_of"]


@dataclass
class Moments:
    """Sums over positions of values and of their products.

    Attributes:
        count: positions.
        total: sum of the values, shape (channels,).
        products: sum of outer products, shape (channels, channels).
    """

    count: int
    total: Tensor
    products: Tensor

    @staticmethod
    def none(channels: int, device: torch.device) -> Moments:
        zeros = torch.zeros(channels, channels, dtype=torch.float64, device=device)
        return Moments(0, torch.zeros(channels, dtype=torch.float64, device=device), zeros)

    def add(self, rows: Tensor) -> None:
        """Take in values of shape (positions, channels)."""
        self.count += rows.shape[0]
        self.total += rows.sum(0)
        self.products += rows.T @ rows

    @property
    def mean(self) -> Tensor:
        return self.total / max(self.count, 1)

    @property
    def second(self) -> Tensor:
        """Mean of outer products."""
        return self.products / max(self.count, 1)

    @property
    def covariance(self) -> Tensor:
        """Mean of outer products of deviations from the mean."""
        return self.second - torch.outer(self.mean, self.mean)

    def spread(self, centred: bool) -> Tensor:
        """``covariance`` or ``second``."""
        return self.covariance if centred else self.second


def rows_of(values: Tensor, layer: nn.Module) -> Tensor:
    """Values that go into or out of a layer as float64 of shape (positions, channels)."""
    channels = -1 if isinstance(layer, nn.Linear) else -3
    moved = values.detach().movedim(channels, -1)
    return moved.reshape(-1, moved.shape[-1]).double()


@dataclass
class LayerMoments:
    """Moments of a layer's inputs, and of its outputs without its bias; both over positions, by channel."""

    inputs: Moments
    outputs: Moments


def layer_moments(
    module: nn.Module, layers: Mapping[str, nn.Module], batches: Iterable[Any]
) -> dict[str, LayerMoments]:
    """Moments of the layers that the data reach.

    Args:
        layers: Linear and Conv2d layers of the module, by any name.
        batches: each one input, or a tuple of inputs.

    Raises:
        BadInput: there are no batches, the module does not run on them, or what a layer makes of them is not finite.
    """
    found: dict[str, LayerMoments] = {}

    def watch(name: str, layer: nn.Module) -> Any:
        def hook(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            seen, made = rows_of(inputs[0], layer), rows_of(output, layer)
            if isinstance(layer.bias, Tensor):
                made = made - layer.bias.detach().double()
            if name not in found:
                empty = (Moments.none(rows.shape[1], rows.device) for rows in (seen, made))
                found[name] = LayerMoments(*empty)
            found[name].inputs.add(seen)
            found[name].outputs.add(made)

        return layer.register_forward_hook(hook)

    with ExitStack() as hooks:
        for name, layer in layers.items():
            hooks.callback(watch(name, layer).remove)
        with evaluating(module):
            evaluate_each(module, batches, "data")
    for name, each in found.items():
        if not bool(torch.isfinite(torch.stack((each.inputs.products.sum(), each.outputs.products.sum()))).all()):
            hint = "look for NaN and infinity in the data and in layers before this one"
            raise BadInput(f"what layer {name!r} gets or gives is not finite", where="data", hint=hint)
    return found
