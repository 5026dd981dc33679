"""What a module must be before it is prepared."""

from __future__ import annotations

import torch
from torch import nn

from edgesmith.compress.qat.folding import PRODUCTS
from edgesmith.compress.qat.layer import QuantizedLayer
from edgesmith.compress.sparsify.masks import FixedMask, StraightThroughMask
from edgesmith.errors import BadInput

__all__ = ["check_given"]


def check_given(module: nn.Module) -> None:
    """
    Raises:
        BadInput: layers are quantised already, are not in float32, or have weights that hooks or masks compute.
    """
    for path, part in module.named_modules():
        where = f"prepare: {path}"
        if isinstance(part, QuantizedLayer):
            hint = "prepare the network in floats; qat.change gives a prepared one other bits"
            raise BadInput("the layer is prepared already", where=where, hint=hint)
        if not isinstance(part, PRODUCTS):
            continue
        other = next((p.dtype for p in part.parameters() if p.dtype is not torch.float32), None)
        if other is not None:
            raise BadInput(f"its weights are {other}", where=where, hint="train in float32: module.float()")
        if any(isinstance(p, FixedMask | StraightThroughMask) for p in part.modules()):
            hint = "finish the Sparsifier, then prepare with Settings(keep_zeros=True)"
            raise BadInput("its weights are masked", where=where, hint=hint)
        if type(part) in PRODUCTS and "weight" not in part._parameters:
            hint = "take the hook off, such as by torch.nn.utils.remove_weight_norm, or use parametrizations"
            raise BadInput("its weight is computed by a hook", where=where, hint=hint)
