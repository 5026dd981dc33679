"""Batch normalisation folded into the layer before it."""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor, nn

__all__ = [
    "NORMS",
    "PRODUCTS",
    "BatchNorm",
    "Product",
    "folded",
    "folded_gain",
    "scaled",
    "starting_gain",
    "with_parameters",
]

Product = nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear
BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d
PRODUCTS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def folded_gain(weight: Tensor, norm: BatchNorm | None) -> Tensor:
    """What the running statistics multiply each output channel by; 1 where there is no normalisation."""
    if norm is None:
        return torch.ones(weight.shape[0], device=weight.device)
    deviation = torch.sqrt(cast(Tensor, norm.running_var) + norm.eps)
    return (1 if norm.weight is None else norm.weight) / deviation


def starting_gain(weight: Tensor, norm: BatchNorm | None) -> Tensor:
    """``folded_gain``, but 1 for channels that a normalisation switches off (as new residual blocks often begin), whose
    weights are to have scales for when it switches them on."""
    gain = folded_gain(weight, norm).detach()
    return torch.where(gain.abs() > torch.finfo(gain.dtype).tiny, gain, 1.0)


def scaled(weight: Tensor, gain: Tensor) -> Tensor:
    """Weights times a number for each output channel."""
    return weight * gain.reshape(-1, *(1,) * (weight.ndim - 1))


def folded(weight: Tensor, bias: Tensor | None, norm: BatchNorm | None) -> tuple[Tensor, Tensor | None]:
    """Weights (output channels along axis 0) and bias that give what the layer and then ``norm`` give in evaluation."""
    if norm is None:
        return weight, bias
    gain = folded_gain(weight, norm)
    shift = (0 if bias is None else bias) - cast(Tensor, norm.running_mean)
    found = gain * shift if norm.bias is None else norm.bias + gain * shift
    return scaled(weight, gain), found


def with_parameters(layer: Product, weight: Tensor, bias: Tensor | None) -> Product:
    """A layer like ``layer`` in evaluation mode, with copies of these parameters."""
    made = copy.copy(layer)
    made._parameters = {
        "weight": nn.Parameter(weight.detach().clone()),
        "bias": None if bias is None else nn.Parameter(bias.detach().clone()),
    }
    return made.eval()
