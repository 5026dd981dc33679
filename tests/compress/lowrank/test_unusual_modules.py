"""Modules whose code looks into layers, default devices, and arguments that are nearly right."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edgesmith.compress.lowrank import METHODS, VBMF, Fixed, MacsTarget, Ratio, apply_shape, factorize
from edgesmith.errors import BadInput

from .networks import chain

pytestmark = pytest.mark.torch


class Inside(nn.Module):
    """Uses a layer's weight besides its outputs."""

    def __init__(self):
        super().__init__()
        self.first, self.read = nn.Linear(32, 32), nn.Linear(32, 32)

    def forward(self, x):
        return F.linear(self.first(x), self.read.weight) + self.read(x)


def test_a_layer_whose_weight_the_code_reads_is_left_alone():
    x = torch.randn(2, 32)
    found = factorize(Inside(), x, "svd", Fixed(4))
    assert [layer.name for layer in found.layers] == ["first"]
    assert "no attribute 'weight'" in dict(found.untouched)["read"]
    assert found.module(x).shape == (2, 32)


def test_modes_and_frozen_layers_are_kept_also_in_the_rebuilt_architecture():
    module = nn.Sequential(nn.Linear(32, 32), nn.Linear(32, 32)).train()
    module[0].requires_grad_(False).eval()
    found = factorize(module, torch.randn(2, 32), "svd", Fixed(4), data=[torch.randn(9, 32)])
    assert [part.training for part in module] == [False, True]
    for result in (found.module, apply_shape(module, found.to_json())):
        assert [part.training for part in result] == [False, True]
        assert [p.requires_grad for p in result[0].parameters()] == [False] * 3
        assert [p.requires_grad for p in result[1].parameters()] == [True] * 3


@pytest.mark.parametrize("method", sorted(METHODS))
def test_default_device_is_not_where_the_module_is(method):
    module, x = chain(), torch.randn(2, 3, 12, 12)
    with torch.device("meta"):
        found = factorize(module, x, method, Ratio(0.3), data=[x])
        factorize(module, x, method, VBMF())
    assert {p.device.type for p in found.module.parameters()} == {"cpu"}


def test_one_pattern_may_be_given_without_a_list():
    module = nn.Sequential(*(nn.Linear(32, 32) for _ in range(12)))
    found = factorize(module, torch.randn(2, 32), "svd", Fixed(4), include="1*", exclude="11")
    assert [layer.name for layer in found.layers] == ["1", "10"]


def test_nearly_right_arguments_are_refused_with_the_next_step():
    module, x = nn.Sequential(nn.Linear(32, 32)), torch.randn(2, 32)
    with pytest.raises(BadInput, match=r"8 is no rule(?s:.)*Fixed\(8\)"):
        factorize(module, x, rank=8)
    with pytest.raises(BadInput, match="share 50 is none"):
        MacsTarget(share=50)
    with pytest.raises(BadInput, match="DataParallel wraps"):
        factorize(nn.DataParallel(module), x)


def test_the_example_is_what_the_module_gets():
    class Product(nn.Module):
        """Takes any number of inputs, of which a batch for training would have the last one for labels."""

        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(32, 32), nn.Linear(32, 32)

        def forward(self, *inputs):
            x, y = inputs
            return self.first(x) * self.second(y)

    found = factorize(Product(), (torch.randn(2, 32), torch.randn(2, 32)), "svd", Fixed(4))
    assert [layer.name for layer in found.layers] == ["first", "second"]
