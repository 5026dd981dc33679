"""Subclasses of layers that compute with code of their own, such as standardised or padded convolutions."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from edgesmith.compress.prune.propagation import Call, Param

__all__ = ["beside_outputs", "has_own_code", "is_equivariant", "unlike"]


def has_own_code(layer: nn.Module) -> bool:
    """Whether a subclass of a layer of ``torch.nn`` has another ``forward``."""
    methods = (getattr(type(layer), name, None) for name in ("forward", "_conv_forward"))
    return any(method is not None and not method.__module__.startswith("torch.") for method in methods)


def beside_outputs(call: Call, outputs: int) -> list[tuple[Param, int]] | None:
    """Parameters and buffers besides weight and bias with their axis of output channels; None if one has no such axis.

    Single numbers need none.
    """
    found = []
    own = [*call.module.named_parameters(), *call.module.named_buffers()]
    for name, tensor in own:
        if name in ("weight", "bias") or tensor.numel() == 1:
            continue
        axes = [axis for axis, size in enumerate(tensor.shape) if size == outputs]
        if tensor.numel() != outputs or not axes or id(tensor) not in call.p.names:
            return None
        found.append((Param(call.p.names[id(tensor)], tensor), axes[0]))
    return found


def unlike(call: Call, weight: Param, makes: int, kind: str) -> Any:
    """Labels of what such a layer gives, which stays whole, as what it reads does."""
    why = f"{call.layer}: {type(call.module).__name__} computes something else than {kind}"
    call.p.labels.fix(call.p.produce(weight, makes, call.layer), why)
    return call.opaque(why)


def is_equivariant(
    layer: Any, sizes: torch.Size, axis: int, reads: int, groups: int = 1, extra: Sequence[tuple[Param, int]] = ()
) -> bool:
    """Whether channels in another order, with weights in that order, give the same in that order.

    Args:
        layer: with a weight whose first axes are those of channels.
        sizes: shape of its input.
        axis: of channels in it and in the output.
        reads: axis of the weight for input channels, 0 or 1.
        groups: whole groups get another order, where there are several.
        extra: other parameters with their axis of output channels.
    """
    copied = copy.deepcopy(layer).to(torch.promote_types(layer.weight.dtype, torch.float32)).eval()
    weight = copied.weight
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(sizes, generator=generator).to(weight)
    names = {id(tensor): name for name, tensor in [*layer.named_parameters(), *layer.named_buffers()]}
    with torch.no_grad():
        expected = copied(x)
        order = torch.randperm(groups, generator=generator)
        inward, outward = (
            (
                torch.arange(n).reshape(groups, -1)[order].flatten()
                if groups > 1
                else torch.randperm(n, generator=generator)
            ).to(weight.device)
            for n in (x.shape[axis], expected.shape[axis])
        )
        for place, channels in ((reads, inward), (1 - reads, outward)):
            if groups == 1 or place == 0:
                weight.copy_(weight.index_select(place, channels))
        if isinstance(copied.bias, torch.Tensor):
            copied.bias.copy_(copied.bias[outward])
        own = dict([*copied.named_parameters(), *copied.named_buffers()])
        for param, place in extra:
            tensor = own[names[id(param.tensor)]]
            tensor.copy_(tensor.index_select(place, outward))
        found, expected = copied(x.index_select(axis, inward)), expected.index_select(axis, outward)
        return bool((found - expected).abs().max() <= 1e-4 * expected.abs().max())
