"""Factors chosen for outputs on calibration data."""

import pytest
import torch
from torch import nn

from edgesmith.compress.lowrank import METHODS, Fixed, Ratio, factorize

from .networks import chain

pytestmark = pytest.mark.torch


def outputs(module, batches):
    with torch.no_grad():
        return torch.cat([module(x).double() for x in batches])


def correlated(number=4, channels=3, size=12, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(channels, channels, generator=generator) * torch.logspace(0, -1.5, channels)
    return [
        torch.einsum("nchw,dc->ndhw", torch.rand(8, channels, size, size, generator=generator), mixing)
        for _ in range(number)
    ]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("method", [m for m in METHODS if m != "svd"])
def test_a_convolution_is_no_worse_on_its_data_than_without_them(method, bias):
    torch.manual_seed(0)
    layer = nn.Conv2d(10, 12, 3, stride=2, padding=1, bias=bias)
    batches = correlated(channels=10, size=9)
    plain = factorize(layer, batches[0], method, Fixed(4))
    aware = factorize(layer, batches[0], method, Fixed(4), data=batches)
    assert plain.layers[0].ranks == aware.layers[0].ranks
    expected = outputs(layer, batches)
    errors = [float((outputs(each.module, batches) - expected).norm()) for each in (plain, aware)]
    assert errors[1] < 0.9 * errors[0]
    mean = expected.mean((0, 2, 3), keepdim=True) if bias else torch.zeros(1, dtype=torch.float64)
    assert aware.layers[0].error == pytest.approx(errors[1] / float((expected - mean).norm()), abs=1e-4)


@pytest.mark.parametrize("bias", [False, True])
def test_a_linear_layer_is_as_near_as_its_rank_allows(bias):
    """Reduced-rank regression: what is lost are the least eigenvalues of the outputs' second moment."""
    torch.manual_seed(1)
    layer = nn.Linear(12, 10, bias=bias)
    x = torch.randn(200, 12) @ torch.diag(torch.logspace(0, -2, 12)) + 0.5
    expected = outputs(layer, [x])
    aware = factorize(layer, x[:1], "svd", Fixed(3), data=iter([x]))
    lost = float((outputs(aware.module, [x]) - expected).square().sum())
    moved = expected - (expected.mean(0) if bias else 0)
    least = float(torch.linalg.eigvalsh(moved.T @ moved)[:-3].sum())
    assert lost == pytest.approx(least, rel=1e-3)
    plain = factorize(layer, x[:1], "svd", Fixed(3))
    assert lost < 0.5 * float((outputs(plain.module, [x]) - expected).square().sum())


def test_full_rank_from_few_samples_is_still_the_layer():
    """Directions that the data do not show come last, and are there."""
    torch.manual_seed(2)
    layer = nn.Linear(16, 6)
    batch = torch.randn(2, 16)
    result = factorize(layer, batch, "svd", Fixed(4), data=[batch])
    assert result.layers[0].error < 1e-3
    decided = factorize(nn.Linear(16, 16), batch, "svd", Ratio(0.25), data=[batch])
    assert torch.isfinite(decided.module(torch.randn(3, 16))).all()


@pytest.mark.parametrize("method", [("tucker2", "channel", "svd"), ("spatial", "channel", "svd")])
def test_a_whole_network_is_nearer_with_data(method):
    module, batches = chain(), correlated()
    expected = outputs(module, batches)
    errors = [
        float((outputs(factorize(module, batches[0], method, Ratio(0.3), data=data).module, batches) - expected).norm())
        for data in (None, batches)
    ]
    assert errors[1] < errors[0]


def test_data_that_do_not_reach_a_layer_leave_its_weights_to_decide():
    class Branch(nn.Module):
        def __init__(self):
            super().__init__()
            self.small, self.large = nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3)

        def forward(self, x):
            return self.large(x) if x.shape[-1] > 8 else self.small(x)

    torch.manual_seed(3)
    module, x = Branch(), torch.randn(1, 8, 9, 9)
    for method in ("tucker2", "channel"):
        plain = factorize(module, x, method, Fixed(3))
        aware = factorize(module, x, method, Fixed(3), data=[torch.randn(1, 8, 7, 7)])
        assert plain.layers == aware.layers
