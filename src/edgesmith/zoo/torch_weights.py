"""Weights of a zoo network as a PyTorch module: random ones to train from, or those of its ONNX model."""

from __future__ import annotations

import onnx
import torch
from onnx import numpy_helper
from torch import nn

__all__ = ["initialise", "load", "materialise"]


def materialise(module: nn.Module) -> None:
    """Give parameters and buffers on the "meta" device memory, without values."""
    for part in module.modules():
        own = [*part.parameters(recurse=False), *part.buffers(recurse=False)]
        if any(tensor.is_meta for tensor in own):
            part.to_empty(device="cpu", recurse=False)


def initialise(module: nn.Module, seed: int) -> None:
    """He's initialisation (arXiv:1502.01852) by fan-in, which is right for depthwise convolutions too; biases are 0,
    batch normalisation starts as the identity, slopes of PReLU at 0.25."""
    generator = torch.Generator().manual_seed(seed)
    for part in module.modules():
        if isinstance(part, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(part.weight, nonlinearity="relu", generator=generator)
        elif isinstance(part, nn.ConvTranspose2d):  # blocks do not overlap: each output pixel has one input pixel
            nn.init.normal_(part.weight, std=(2.0 / part.in_channels) ** 0.5, generator=generator)
        elif isinstance(part, (nn.BatchNorm1d, nn.BatchNorm2d, nn.PReLU)):
            part.reset_parameters()
        if isinstance(part, (nn.Conv2d, nn.Linear, nn.ConvTranspose2d)) and part.bias is not None:
            nn.init.zeros_(part.bias)


def load(module: nn.Module, model: onnx.ModelProto) -> None:
    """Copy initialisers of an ONNX model into parameters and running statistics of the same name and size.

    Raises:
        KeyError: a parameter has no initialiser.
    """
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for name, part in module.named_modules():
        if isinstance(part, (nn.BatchNorm1d, nn.BatchNorm2d)):
            part.reset_running_stats()
        statistics = {k: v for k, v in part.named_buffers(recurse=False) if k.startswith("running_")}
        for key, tensor in {**dict(part.named_parameters(recurse=False)), **statistics}.items():
            array = numpy_helper.to_array(constants[f"{name}.{key}"])
            with torch.no_grad():
                tensor.copy_(torch.from_numpy(array.copy()).reshape(tensor.shape))
