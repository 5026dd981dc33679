"""Features of layers: those of the state in AMC's paper."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edgesmith.compress.search import layer_features

pytestmark = pytest.mark.torch


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, (3, 12), stride=2, padding=(1, 5))
        self.depthwise = nn.Conv2d(8, 8, 3, groups=8)
        self.unused = nn.Conv2d(1, 1, 1)
        self.rows = nn.Conv1d(8, 4, 5, stride=3)
        self.last = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.depthwise(self.first(x))
        return self.last(self.rows(x.flatten(2)).mean(2))


def test_layers_have_the_papers_numbers() -> None:
    module = Network().train()
    found = layer_features(module, torch.zeros(1, 3, 16, 24))
    assert found == {
        "first": (3, 16, 24, 2, 6),
        "depthwise": (8, 8, 12, 1, 3),
        "rows": (8, 1, 60, 3, 5),
        "last": (4, 1, 1, 1, 1),
    }
    assert module.training and not any(layer._forward_pre_hooks for layer in module.modules())
