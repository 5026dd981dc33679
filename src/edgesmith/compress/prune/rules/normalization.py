"""Normalisations, and PReLU, whose parameters also stand beside each channel."""

from __future__ import annotations

from typing import Any

import torch

from edgesmith.compress.prune.propagation import Call, Param
from edgesmith.compress.prune.rules.registration import rule

__all__: list[str] = []


def _beside(call: Call, x: torch.Tensor, axis: int, params: tuple[Any, ...]) -> torch.Tensor:
    channels = call.p.along(x, axis, f"{call.place} normalises along another axis")
    for param in params:
        if isinstance(param, Param):
            call.p.bind(param, 0, channels, "scale", call.layer)
        elif param is not None:
            call.opaque(f"{call.place}: a parameter of the normalisation is computed")
    for attribute in ("num_features", "num_channels", "num_parameters"):
        call.follows(attribute, channels)
    return call.p.labels.canonical(x)


@rule("_BatchNorm", "_InstanceNorm")
def _batch_norm_module(call: Call) -> Any:
    names = ("weight", "bias", "running_mean", "running_var")
    x = call.input()
    axis = 1 if x.ndim > 1 and x.shape[1] == call.module.num_features else 0
    return _beside(call, x, axis, tuple(call.param(name) for name in names))


@rule("batch_norm")
def _batch_norm(call: Call) -> Any:
    names = ("running_mean", "running_var", "weight", "bias")
    return _beside(call, call.input(), 1, tuple(call.get(i, n) for i, n in enumerate(names, 1)))


@rule("instance_norm")
def _instance_norm(call: Call) -> Any:
    return _batch_norm(call)


@rule("LayerNorm", "RMSNorm")
def _layer_norm_module(call: Call) -> Any:
    return _layer_norm(call, call.module.normalized_shape, call.param("weight"), call.param("bias"))


@rule("layer_norm", "rms_norm")
def _layer_norm_function(call: Call) -> Any:
    return _layer_norm(call, call.get(1, "normalized_shape"), call.get(2, "weight"), call.get(3, "bias"))


def _layer_norm(call: Call, shape: tuple[int, ...], weight: Any, bias: Any) -> Any:
    x = call.input()
    varying = call.p.labels.varying(x)
    if not varying:
        return x
    channels = call.p.along(x, varying[0], f"{call.place}: channels along several axes")
    axis = varying[0] - (x.ndim - len(shape))
    for param in (weight, bias):
        if isinstance(param, Param) and axis >= 0:
            call.p.bind(param, axis, channels, "scale", call.layer)
        elif param is not None and axis >= 0:
            return call.opaque(f"{call.place}: a parameter of the normalisation is computed")
    if axis >= 0:
        call.follows("normalized_shape", channels, axis)
    return x


@rule("GroupNorm")
def _group_norm_module(call: Call) -> Any:
    return _group_norm(call, call.module.num_groups, call.param("weight"), call.param("bias"))


@rule("group_norm")
def _group_norm_function(call: Call) -> Any:
    return _group_norm(call, call.get(1, "num_groups"), call.get(2, "weight"), call.get(3, "bias"))


def _group_norm(call: Call, groups: int, weight: Any, bias: Any) -> Any:
    """Whole groups are removed, which leaves the statistics of the others as they are; a single group shrinks."""
    x = call.input()
    if call.p.decide(call.node, 0 if groups > 1 else 1) == 0:
        channels = call.p.along(x, 1, f"{call.place} normalises along another axis")
        call.p.rectify(channels.reshape(groups, -1), 0, f"{call.place} couples it, in its group, to what is fixed")
        call.follows("num_groups", channels[:: len(channels) // groups])
        call.p.groupings[call.node.name] = channels[:: len(channels) // groups]
    return _beside(call, x, 1, (weight, bias))


@rule("PReLU")
def _prelu_module(call: Call) -> Any:
    return call.input() if call.module.num_parameters == 1 else _beside(call, call.input(), 1, (call.param("weight"),))


@rule("prelu")
def _prelu(call: Call) -> Any:
    weight = call.get(1, "weight")
    if isinstance(weight, Param) and weight.tensor.numel() == 1:
        return call.input()
    return _beside(call, call.input(), 1, (weight,))


@rule("LocalResponseNorm", "local_response_norm")
def _local_response_norm(call: Call) -> Any:
    return call.opaque(f"{call.place}: normalises over neighbouring channels")
