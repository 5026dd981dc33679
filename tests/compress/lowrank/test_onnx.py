"""A factorised network runs in ONNX Runtime as in PyTorch."""

import pytest
import torch
from torch import nn

from edgesmith.compress.counting import macs
from edgesmith.compress.lowrank import MacsTarget, factorize
from edgesmith.frontend.torch import export
from edgesmith.oracle import Oracle

pytestmark = pytest.mark.torch


def test_resnet18(torchvision, tmp_path):
    torch.manual_seed(0)
    module, x = torchvision.resnet18(num_classes=10).eval(), torch.randn(1, 3, 32, 32)
    large = ("layer3.*", "layer4.*")
    result = factorize(module, x, ("tucker2", "channel", "svd"), MacsTarget(share=0.8, steps=3), exclude=large)
    assert macs(result.module, x) <= 0.8 * macs(module, x)
    assert {layer.method for layer in result.layers} == {"tucker2", "channel", "svd"}
    export(result.module, x, tmp_path / "network.onnx")
    with torch.no_grad():
        exact = result.module.double()(x.double()).numpy()
    (found,) = Oracle(str(tmp_path / "network.onnx")).run({"x": x.numpy()}).values()
    assert abs(found - exact).max() <= rounding(result.module) * abs(exact).max()


def rounding(module):
    """Sums of n products in float32 err by at most 6 sqrt(n) u with near certainty (Higham and Mary, 2019); the
    relative errors of layers that follow each other add up."""
    weights = [part.weight for part in module.modules() if isinstance(part, nn.Linear | nn.Conv2d)]
    return sum(6 * weight[0].numel() ** 0.5 * torch.finfo(torch.float32).eps / 2 for weight in weights)
