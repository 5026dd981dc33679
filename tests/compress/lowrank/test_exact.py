"""At full rank the factors compute what the layer computes."""

import pytest
import torch
from hypothesis import assume, given, settings
from torch import nn

from edgesmith.compress.lowrank import BlockTerm, factorize_layer
from edgesmith.compress.lowrank.method import Factors, method_named
from edgesmith.compress.lowrank.network import fill

from .layers import convolutions, rounding

pytestmark = pytest.mark.torch


def assert_same(layer, chain, x):
    with torch.no_grad():
        difference = (layer(x).double() - chain(x).double()).abs()
    assert chain(x).shape == layer(x).shape
    assert (difference <= rounding(chain, x)).all()


@pytest.mark.parametrize("method", ["channel", "spatial", "tucker2", BlockTerm(groups=1)])
@settings(max_examples=15, deadline=None)
@given(drawn=convolutions())
def test_convolution_of_any_stride_padding_and_dilation(method, drawn):
    layer, x = drawn
    chosen = method_named(method) if isinstance(method, str) else method
    assume(chosen.refuses(layer) is None)
    chain = factorize_layer(layer, method, chosen.decompose(layer).limits)
    assert all(type(part) is nn.Conv2d for part in chain)
    assert_same(layer, chain, x)


@settings(max_examples=15, deadline=None)
@given(drawn=convolutions())
def test_canonical_factors_in_layers_are_the_layer_of_their_product(drawn):
    layer, x = drawn
    method = method_named("cp")
    assume(method.refuses(layer) is None)
    (outputs, inputs, height, width), rank = layer.weight.shape, 3
    a, b, c, d = (torch.randn(n, rank, dtype=torch.float64) for n in (outputs, inputs, height, width))
    with torch.no_grad():
        layer.weight.copy_(torch.einsum("tr,sr,hr,wr->tshw", a, b, c, d))
    weights = (b.T[:, :, None, None], c.T[:, None, :, None], d.T[:, None, None, :], a[:, :, None, None])
    chain = fill(method.structure(layer, (rank,)), Factors(weights, None, 0.0), layer)
    assert_same(layer, chain, x)


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4), (1, 6)])
@pytest.mark.parametrize("bias", [False, True])
def test_linear(shape, bias):
    torch.manual_seed(0)
    layer = nn.Linear(*shape, bias=bias)
    chain = factorize_layer(layer, "svd", [min(shape)])
    assert [type(part) for part in chain] == [nn.Linear, nn.Linear]
    assert_same(layer, chain, torch.randn(2, 7, shape[0]))


def test_factors_share_their_norms():
    torch.manual_seed(0)
    first, second = factorize_layer(nn.Linear(12, 8), "svd", [4])
    torch.testing.assert_close(first.weight.norm(dim=1), second.weight.norm(dim=0))


def test_a_frozen_layer_has_frozen_factors_of_its_type():
    layer = nn.Linear(6, 6).double().eval().requires_grad_(False)
    chain = factorize_layer(layer, "svd", [2])
    assert not chain.training
    assert all(p.dtype == torch.float64 and not p.requires_grad for p in chain.parameters())
