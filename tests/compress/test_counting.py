"""Multiply-adds and parameters, against figures counted by hand."""

import pytest
import torch
from torch import nn

from edgesmith.compress.counting import macs, parameters

pytestmark = pytest.mark.torch


def test_convolution_depthwise_and_linear_are_counted():
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8, bias=False),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 10),
    )
    module.train()
    module[1].eval()
    assert macs(module, torch.zeros(1, 3, 8, 8)) == 64 * 3 * 8 * 9 + 16 * 8 * 9 + 80
    assert macs(module, (torch.zeros(2, 3, 8, 8),)) == 2 * (64 * 3 * 8 * 9 + 16 * 8 * 9 + 80)
    assert [part.training for part in module] == [True, False, True, True, True]
    assert parameters(module) == 3 * 8 * 9 + 8 * 9 + 90


def test_a_parameter_may_be_an_input_of_a_layer():
    class Token(nn.Module):
        def __init__(self):
            super().__init__()
            self.token, self.layer = nn.Parameter(torch.zeros(1, 3)), nn.Linear(3, 4)

        def forward(self, x):
            return self.layer(x) + self.layer(self.token)

    assert macs(Token(), torch.zeros(2, 3)) == 2 * 3 * 4 + 3 * 4
