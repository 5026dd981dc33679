"""The networks of the experiments: plain PyTorch modules for small pictures, as a user might have written them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STAGES = ((1, 8, 1, 1), (6, 16, 2, 1), (6, 24, 2, 2), (6, 40, 2, 1), (6, 64, 1, 2))
"""Expansion, channels, repeats and first stride of each stage of ``MobileNet``."""


def conv_norm(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(outputs)]


class InvertedResidual(nn.Module):
    """The block of MobileNet v2 (arXiv:1801.04381)."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        expand = [*conv_norm(inputs, inner, 1), nn.ReLU6()] if expansion > 1 else []
        depthwise = [*conv_norm(inner, inner, 3, stride, inner), nn.ReLU6()]
        self.layers = nn.Sequential(*expand, *depthwise, *conv_norm(inner, outputs, 1))
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.residual else self.layers(x)


class MobileNet(nn.Module):
    """MobileNet v2 for small pictures: total stride 8, 11 convolutions of 3x3; 4.6 M multiply-adds at 28x28x1."""

    def __init__(
        self, channels: int, classes: int, *, width: float = 1.0, stages: Sequence[tuple[int, int, int, int]] = STAGES
    ) -> None:
        super().__init__()

        def scaled(count: int) -> int:
            return max(8, int(count * width + 4) // 8 * 8)

        last, inputs = scaled(256), scaled(16)
        layers: list[nn.Module] = [*conv_norm(channels, inputs, 3, 2), nn.ReLU6()]
        for expansion, count, repeats, stride in stages:
            for repeat in range(repeats):
                layers.append(InvertedResidual(inputs, scaled(count), stride if repeat == 0 else 1, expansion))
                inputs = scaled(count)
        self.features = nn.Sequential(*layers, *conv_norm(inputs, last, 1), nn.ReLU6())
        self.classifier = nn.Linear(last, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).mean((2, 3)))


class BasicBlock(nn.Module):
    """The block of ResNet-18 (arXiv:1512.03385)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*conv_norm(inputs, outputs, 3, stride), nn.ReLU(), *conv_norm(outputs, outputs, 3))
        changes = stride > 1 or inputs != outputs
        self.shortcut = nn.Sequential(*conv_norm(inputs, outputs, 1, stride)) if changes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.layers(x) + self.shortcut(x))


class ResNet(nn.Module):
    """ResNet of three stages with two blocks each, total stride 8; 5.5 M multiply-adds at 28x28x1 and width 16."""

    def __init__(self, channels: int, classes: int, *, width: int = 16, blocks: int = 2) -> None:
        super().__init__()
        layers: list[nn.Module] = [*conv_norm(channels, width, 3, 2), nn.ReLU()]
        inputs = width
        for stage in range(3):
            for block in range(blocks):
                outputs = width << stage
                layers.append(BasicBlock(inputs, outputs, 2 if block == 0 and stage else 1))
                inputs = outputs
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).mean((2, 3)))


class SignNet(nn.Module):
    """A plain network after that of BinaryConnect and BNN (arXiv:1602.02830), narrower, with a mean at the end: what
    layers read is negative as often as positive, so that its signs say something."""

    def __init__(self, channels: int, classes: int, *, width: int = 32) -> None:
        super().__init__()
        layers: list[nn.Module] = [*conv_norm(channels, width, 3, 2), nn.Hardtanh()]
        inputs = width
        for outputs, shrinks in (
            (width, True),
            (2 * width, False),
            (2 * width, True),
            (4 * width, False),
            (4 * width, False),
        ):
            layers += [*conv_norm(inputs, outputs, 3), *([nn.MaxPool2d(2)] if shrinks else []), nn.Hardtanh()]
            inputs = outputs
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).mean((2, 3)))


NETWORKS: dict[str, Callable[[int, int], nn.Module]] = {
    "mobilenet": MobileNet,
    "resnet": ResNet,
    "signs": SignNet,
    "mobilenet-half": lambda channels, classes: MobileNet(channels, classes, width=0.5),
    "resnet-half": lambda channels, classes: ResNet(channels, classes, width=8),
    "resnet-quarter": lambda channels, classes: ResNet(channels, classes, width=4),
    "resnet-three-quarters": lambda channels, classes: ResNet(channels, classes, width=12),
}


def network(name: str, channels: int, classes: int, seed: int) -> nn.Module:
    """A network with fresh weights."""
    torch.manual_seed(seed)
    return NETWORKS[name](channels, classes)
