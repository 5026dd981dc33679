"""What describes layers to a learning search."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from torch import Tensor, nn

from edgesmith.compress.tracing import as_inputs, evaluating

__all__ = ["layer_features"]


def layer_features(module: nn.Module, example: Any) -> dict[str, tuple[float, ...]]:
    """Input channels, input height, input width, stride and kernel size of convolutions and linear layers, by name.

    With the number of output channels they are the state of a layer in AMC (Y. He et al., ECCV 2018, arXiv:1802.03494,
    section 3.1): ``Group(name, channels, features=...)``. Sides that differ count by their geometric mean, axes that
    are not there as 1. Layers that the example does not reach are left out.

    Args:
        example: one input, or a tuple of positional inputs.
    """
    found: dict[str, tuple[float, ...]] = {}

    def noting(name: str) -> Callable[..., None]:
        def note(layer: nn.Module, inputs: tuple[Any, ...]) -> None:
            if name not in found and inputs and isinstance(inputs[0], Tensor):
                found[name] = _features(layer, inputs[0])

        return note

    with ExitStack() as hooks, evaluating(module):
        for name, layer in module.named_modules():
            if isinstance(layer, nn.Linear | nn.modules.conv._ConvNd):
                hooks.callback(layer.register_forward_pre_hook(noting(name)).remove)
        module(*as_inputs(example))
    return found


def _features(layer: nn.Module, given: Tensor) -> tuple[float, ...]:
    if isinstance(layer, nn.modules.conv._ConvNd):
        sides = given.shape[-len(layer.kernel_size) :]
        height, width = (math.prod(sides[:-1]), sides[-1])
        return (layer.in_channels, height, width, _mean(layer.stride), _mean(layer.kernel_size))
    return (given.shape[-1], 1, math.prod(given.shape[1:-1]), 1, 1)


def _mean(sizes: tuple[int, ...]) -> float:
    return float(math.prod(sizes) ** (1 / len(sizes)))
