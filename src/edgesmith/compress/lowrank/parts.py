"""Layers that a convolution is split into: pointwise ones, and those that keep its window along one axis or both."""

from __future__ import annotations

from typing import Any

from torch import nn

__all__ = ["pointwise", "window"]


def window(
    layer: nn.Conv2d,
    inputs: int,
    outputs: int,
    *,
    height: bool = True,
    width: bool = True,
    groups: int = 1,
    bias: bool = False,
    device: Any = None,
) -> nn.Conv2d:
    """A convolution with ``layer``'s kernel, stride, padding and dilation along the named axes, and 1 elsewhere."""
    axes = (height, width)

    def along(values: tuple[int, ...], neutral: int) -> tuple[int, int]:
        first, second = (value if used else neutral for value, used in zip(values, axes, strict=True))
        return first, second

    padding = layer.padding if isinstance(layer.padding, str) else along(layer.padding, 0)
    return nn.Conv2d(
        inputs,
        outputs,
        along(layer.kernel_size, 1),
        stride=along(layer.stride, 1),
        padding=padding,
        dilation=along(layer.dilation, 1),
        groups=groups,
        bias=bias,
        padding_mode=layer.padding_mode,
        device=layer.weight.device if device is None else device,
        dtype=layer.weight.dtype,
    )


def pointwise(layer: nn.Conv2d, inputs: int, outputs: int, *, bias: bool = False, device: Any = None) -> nn.Conv2d:
    """A 1 x 1 convolution of ``layer``'s data type."""
    where = layer.weight.device if device is None else device
    return nn.Conv2d(inputs, outputs, 1, bias=bias, device=where, dtype=layer.weight.dtype)
