"""Pooling and resampling: channels pass, other axes get a new size."""

from __future__ import annotations

from typing import Any

import torch

from edgesmith.compress.prune.labels import compress
from edgesmith.compress.prune.propagation import Call
from edgesmith.compress.prune.rules.registration import rule
from edgesmith.compress.tracing import Shape

__all__: list[str] = []

_FUNCTIONS = (
    "max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d lp_pool1d lp_pool2d adaptive_avg_pool1d "
    "adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d interpolate "
    "upsample upsample_nearest upsample_bilinear"
)
_MODULES = (
    "MaxPool1d MaxPool2d MaxPool3d AvgPool1d AvgPool2d AvgPool3d LPPool1d LPPool2d AdaptiveAvgPool1d AdaptiveAvgPool2d "
    "AdaptiveAvgPool3d AdaptiveMaxPool1d AdaptiveMaxPool2d AdaptiveMaxPool3d Upsample UpsamplingNearest2d "
    "UpsamplingBilinear2d ReflectionPad1d ReflectionPad2d ReflectionPad3d ReplicationPad1d ReplicationPad2d "
    "ReplicationPad3d ZeroPad1d ZeroPad2d ZeroPad3d ConstantPad1d ConstantPad2d ConstantPad3d CircularPad1d "
    "CircularPad2d CircularPad3d"
)


@rule(*_FUNCTIONS.split(), *_MODULES.split())
def _resized(call: Call) -> Any:
    x = call.input()
    outs = call.out if isinstance(call.out, (tuple, list)) else (call.out,)
    if not all(isinstance(out, Shape) and len(out.sizes) == x.ndim for out in outs):
        return call.opaque(f"{call.place}: another number of axes comes out")
    small = compress(x)
    if any(x.shape[axis] != outs[0].sizes[axis] for axis in call.p.labels.varying(x)):
        return call.opaque(f"{call.place} resizes the axis of channels")
    results = tuple(small.expand(out.sizes) for out in outs)
    return results if isinstance(call.out, (tuple, list)) else results[0]


@rule("pad")
def _pad(call: Call) -> Any:
    """Channels that padding adds are channels like others; nothing makes them, so removing them changes the padding."""
    x, pads = call.input(), list(call.get(1, "pad"))
    sizes = call.out.sizes
    small = compress(x)
    # One channel that is left does not vary.
    of_channels = call.p.decide(call.node, sum(1 << axis for axis in call.p.labels.varying(x)))
    for i in range(len(pads) // 2):
        axis = x.ndim - 1 - i
        if of_channels >> axis & 1:
            before, after = pads[2 * i], pads[2 * i + 1]
            if min(before, after) < 0 or call.get(2, "mode", "constant") != "constant":
                return call.opaque(f"{call.node.name} pads the axis of channels")
            shape = [1] * x.ndim
            shape[axis] = -1
            new = [call.p.labels.mint(n).reshape(shape) for n in (before, after)]
            small = torch.cat([new[0], small, new[1]], axis)
    return small.expand(sizes)
