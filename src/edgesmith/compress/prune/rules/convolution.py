"""Convolutions: dense, grouped, depthwise, transposed."""

from __future__ import annotations

from math import prod
from typing import Any

import torch

from edgesmith.compress.prune.balance import Equal
from edgesmith.compress.prune.propagation import Call, Param
from edgesmith.compress.prune.rules.own_code import beside_outputs, has_own_code, is_equivariant, unlike
from edgesmith.compress.prune.rules.registration import rule

__all__: list[str] = []


@rule("Conv1d", "Conv2d", "Conv3d")
def _module(call: Call) -> Any:
    return _convolution(call, call.param("weight"), call.param("bias"), call.module.groups, transposed=False)


@rule("ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d")
def _transposed_module(call: Call) -> Any:
    return _convolution(call, call.param("weight"), call.param("bias"), call.module.groups, transposed=True)


@rule("conv1d", "conv2d", "conv3d")
def _function(call: Call) -> Any:
    weight, bias, groups = call.get(1, "weight"), call.get(2, "bias"), call.get(6, "groups", 1)
    return _convolution(call, weight, bias, groups, transposed=False)


@rule("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def _transposed_function(call: Call) -> Any:
    weight, bias, groups = call.get(1, "weight"), call.get(2, "bias"), call.get(6, "groups", 1)
    return _convolution(call, weight, bias, groups, transposed=True)


def _convolution(call: Call, weight: Any, bias: Any, groups: int, transposed: bool) -> Any:
    if not isinstance(weight, Param) or not (bias is None or isinstance(bias, Param)):
        return call.opaque(f"{call.place}: the weight of the convolution is computed")
    p, layer, x = call.p, call.layer, call.input()
    axis = x.ndim - weight.tensor.ndim + 1
    channels = p.along(x, axis, f"{layer} convolves along the axis")
    spatial = (x.shape if transposed else call.out.sizes)[axis + 1 :]
    positions = prod(spatial) * (x.shape[0] if axis else 1) * prod(weight.tensor.shape[2:])
    reads, makes = (0, 1) if transposed else (1, 0)
    extra = None
    if call.module is not None and has_own_code(call.module):
        extra = beside_outputs(call, call.out.sizes[axis])
        if extra is None or not is_equivariant(call.module, x.shape, axis, reads, groups, extra):
            return unlike(call, weight, makes, "a convolution")
    if groups == 1 and call.node.name not in p.shrinks:  # or a single one of several groups is left
        p.bind(weight, reads, channels, "in", layer)
        made = p.produce(weight, makes, layer)
        call.term(positions, channels, made)
    else:
        made = _grouped(call, weight, channels, groups, transposed, positions)
    p.bind(bias, 0, made, "scale", layer)
    for param, place in extra or ():
        p.bind(param, place, made, "scale", layer)
    call.follows("in_channels", channels)
    call.follows("out_channels", made)
    shape = [1] * len(call.out.sizes)
    shape[axis] = -1
    return made.reshape(shape).expand(call.out.sizes)


def _grouped(
    call: Call, weight: Param, channels: torch.Tensor, groups: int, transposed: bool, positions: int
) -> torch.Tensor:
    """Whole groups are removed where there are at least as many as channels in each; else every group shrinks."""
    p, layer = call.p, call.layer
    inside = len(channels) // groups
    outside = weight.tensor.shape[1] if transposed else weight.tensor.shape[0] // groups
    why = f"{layer} couples it, in its group, to what is fixed"
    if p.decide(call.node, 0 if groups >= inside else 1) == 0:
        p.rectify(channels.reshape(groups, inside), 0, why)
        made = p.labels.canonical(channels).reshape(groups, inside)[:, :1].expand(groups, outside).reshape(-1)
        call.follows("groups", made[::outside])
        p.groupings[call.node.name] = made[::outside]
        along = channels if transposed else made
        p.bind(weight, 0, along, "scale", layer)
        call.term(positions * weight.tensor.shape[1], along)
        return made
    if p.balance and not transposed:
        p.equal.append(Equal(tuple(channels.reshape(groups, inside))))
        p.bind(weight, 1, channels, "in", layer, blocks=groups)
        made = p.produce(weight, 0, layer)
        p.equal.append(Equal(tuple(made.reshape(groups, outside))))
        call.term(positions, channels[:inside], made)
        return made
    p.rectify(channels.reshape(groups, inside), 1, why)
    if transposed:
        p.bind(weight, 0, channels, "in", layer)
        made = p.produce(weight, 1, layer).expand(groups, outside).reshape(-1)
        call.term(positions, channels, made[:outside])
    else:
        p.bind(weight, 1, channels[:inside], "in", layer)
        made = p.produce(weight, 0, layer)
        p.rectify(made.reshape(groups, outside), 1, why)
        call.term(positions, channels[:inside], made)
    return made
