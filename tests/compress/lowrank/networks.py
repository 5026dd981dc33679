"""Small networks with what factors can replace and what they cannot."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Mixed(nn.Module):
    """A convolution evaluated twice, layers that no method takes, and a weight that is used without its layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.twice = nn.Conv2d(16, 16, 3, padding=1)
        self.depthwise = nn.Conv2d(16, 16, 3, groups=16, padding=1)
        self.grouped = nn.Conv2d(16, 16, 3, groups=4, padding=1)
        self.up = nn.ConvTranspose2d(16, 16, 2, stride=2)
        self.pointwise = nn.Conv2d(16, 24, 1, stride=2)
        self.functional = nn.Linear(24, 24)
        self.hidden = nn.Linear(24, 20)
        self.head = nn.Linear(20, 10)
        self.alias = self.hidden
        self.attention = nn.MultiheadAttention(24, 2, batch_first=True)
        self.tied = nn.Linear(10, 20, bias=False)
        self.tied.weight = nn.Parameter(torch.randn(20, 10) / 3)
        self.other = nn.Linear(10, 20, bias=False)
        self.other.weight = self.tied.weight
        self.hooked = nn.Linear(20, 20)
        self.hooked.register_forward_hook(lambda *_: None)
        self.normed = nn.utils.parametrizations.weight_norm(nn.Linear(20, 20))
        self.unused = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.twice(torch.relu(self.twice(self.stem(x)))))
        x = self.pointwise(torch.relu(self.up(self.grouped(self.depthwise(x)))))
        x = x.mean((2, 3))
        x = functional.linear(x, self.functional.weight)
        x = x + self.attention(x[:, None], x[:, None], x[:, None])[0][:, 0]
        x = self.head(torch.relu(self.hidden(x)))
        return self.normed(self.hooked(self.tied(x) + self.other(x)))


def chain() -> nn.Sequential:
    """Four layers of different shapes, whose weights have falling spectra; for inputs (n, 3, 12, 12)."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 24, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(24, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 40, 1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(40, 30),
    )
    with torch.no_grad():
        for part in module:
            if isinstance(part, nn.Linear | nn.Conv2d):
                left, values, right = torch.linalg.svd(part.weight.flatten(1), full_matrices=False)
                decay = torch.exp(-torch.arange(len(values)) / 6)
                part.weight.copy_(((left * values * decay) @ right).reshape(part.weight.shape))
    return module.eval()
