"""Tiny networks that have what quantisation has to place: residual additions, depthwise layers, concatenation."""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

__all__ = [
    "Attending",
    "ChannelsLast",
    "Concatenating",
    "Depthwise",
    "Plain",
    "Residual",
    "Shuffled",
    "Signed",
    "inputs",
    "trained",
]


class Plain(nn.Module):
    """Convolutions with biases and without normalisation."""

    shape = (1, 8, 8)

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 12, 3, stride=2)
        self.fc = nn.Linear(12 * 9, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.conv2(functional.relu(self.conv1(x))))
        return self.fc(x.flatten(1))


class Residual(nn.Module):
    """A residual block behind a pooled convolution."""

    shape = (2, 12, 12)

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(2, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.conv1, self.norm1 = nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.conv2, self.norm2 = nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.relu, self.pool = nn.ReLU(inplace=True), nn.MaxPool2d(2)
        self.drop, self.fc = nn.Dropout(0.1), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.relu(self.norm(self.stem(x))))
        y = self.norm2(self.conv2(self.relu(self.norm1(self.conv1(x)))))
        y += x
        return self.fc(self.drop(self.relu(y).mean((2, 3))))


class Signed(Residual):
    """What its layers read is negative as often as positive."""

    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.Hardtanh(inplace=True)


class Depthwise(nn.Module):
    """An inverted residual, whose result is negative as well as positive."""

    shape = (3, 10, 10)

    def __init__(self) -> None:
        super().__init__()
        self.stem = self._layer(3, 8, 3, stride=2)
        self.block = nn.Sequential(self._layer(8, 24, 1), self._layer(24, 24, 3, groups=24), *self._layer(24, 8, 1)[:2])
        self.head = self._layer(8, 16, 1)
        self.fc = nn.Linear(16, 5)

    def _layer(self, inputs: int, outputs: int, size: int, *, stride: int = 1, groups: int = 1) -> nn.Sequential:
        conv = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
        return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU6(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.block(x)
        return self.fc(functional.adaptive_avg_pool2d(self.head(x), 1).flatten(1))


class Concatenating(nn.Module):
    """Two branches side by side, of which one is narrow, and a layer that is used twice."""

    shape = (2, 6, 6)

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 8, 1)
        self.left, self.right = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 3, padding=1)
        self.twice = nn.Conv2d(16, 16, 1)
        self.fc = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        x = torch.cat([self.left(x).relu(), self.right(x).relu_()], 1)
        x = self.twice(self.twice(x).relu()).relu()
        return self.fc(functional.avg_pool2d(x, 6).flatten(1))


class Shuffled(nn.Module):
    """Grouped convolutions with a channel shuffle between, and modules that are called like parts of this package."""

    shape = (4, 6, 6)

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv2d(4, 12, 1, groups=2), nn.Conv2d(12, 12, 1, groups=3)])
        self.quantizers = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layers[0](x).relu()
        x = x.reshape(x.shape[0], 2, 6, 6, 6).transpose(1, 2).reshape(x.shape[0], 12, 6, 6)
        return self.quantizers(self.layers[1](x).relu().mean((2, 3)))


class Attending(nn.Module):
    """Attention over patches: linear layers of values with three axes, split and moved."""

    shape = (1, 8, 8)

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.norm = nn.Conv2d(1, 16, 2, 2), nn.LayerNorm(16)
        self.qkv, self.out = nn.Linear(16, 48), nn.Linear(16, 16)
        self.up, self.down, self.fc = nn.Linear(16, 32), nn.Linear(32, 16), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        count, length, _ = x.shape
        q, k, v = self.qkv(self.norm(x)).reshape(count, length, 3, 2, 8).permute(2, 0, 3, 1, 4).unbind(0)
        shares = (q @ k.transpose(-2, -1) * 8**-0.5).softmax(-1)
        x = x + self.out((shares @ v).transpose(1, 2).reshape(count, length, 16))
        x = x + self.down(functional.gelu(self.up(x)))
        return self.fc(x.mean(1))


class ChannelsLast(nn.Module):
    """Residual blocks of convolutions and linear layers, which want channels along different axes."""

    shape = (2, 6, 6)

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 8, 1)
        self.convs = nn.ModuleList(nn.Conv2d(8, 8, 3, padding=1, groups=8) for _ in range(2))
        self.ups, self.downs = (nn.ModuleList(nn.Linear(*n) for _ in range(2)) for n in ((8, 16), (16, 8)))
        self.scale = nn.Parameter(torch.full((8, 1, 1), 0.7))
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for conv, up, down in zip(self.convs, self.ups, self.downs, strict=True):
            y = conv(x).permute(0, 2, 3, 1)
            x = x + self.scale * down(up(y).relu()).permute(0, 3, 1, 2)
        return self.fc(x.permute(0, 2, 3, 1).relu().mean((1, 2)))


def trained(kind: type[nn.Module], seed: int = 0) -> nn.Module:
    """A network in evaluation mode whose normalisations have seen data, with uneven channels."""
    torch.manual_seed(seed)
    network = kind()
    with torch.no_grad():
        for part in network.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.weight.uniform_(0.5, 1.5)
                part.bias.uniform_(-0.3, 0.5)
        for _ in range(20):
            network(inputs(kind, 16))
    return network.eval()


def inputs(kind: type[nn.Module], count: int, seed: int | None = None) -> Tensor:
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    return torch.randn(count, *kind.shape, generator=generator)  # type: ignore[attr-defined]
