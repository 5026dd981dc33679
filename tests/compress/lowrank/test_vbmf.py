"""Variational Bayes finds ranks that are there."""

import pytest
import torch
from torch import nn

from edgesmith.compress.lowrank.method import method_named
from edgesmith.compress.lowrank.rules import VBMF
from edgesmith.compress.lowrank.spectrum import Spectrum
from edgesmith.compress.lowrank.vbmf import planted_rank

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("shape", [(40, 120), (120, 40), (60, 60)])
@pytest.mark.parametrize("rank", [1, 5, 12])
@pytest.mark.parametrize("noise", [0.01, 0.3])
def test_planted_rank_is_recovered(shape, rank, noise):
    generator = torch.Generator().manual_seed(rank)
    left, right = (torch.randn(n, rank, dtype=torch.float64, generator=generator) for n in shape)
    matrix = left @ right.T + noise * torch.randn(*shape, dtype=torch.float64, generator=generator)
    assert planted_rank(Spectrum.of(matrix)) == rank


def test_noise_alone_has_no_rank():
    generator = torch.Generator().manual_seed(0)
    assert planted_rank(Spectrum.of(torch.randn(50, 150, dtype=torch.float64, generator=generator))) == 0
    assert planted_rank(Spectrum.of(torch.zeros(5, 5, dtype=torch.float64))) == 0


def test_signal_below_the_threshold_of_noise_is_not_taken_for_a_rank():
    """A singular value s is visible in L x M noise of variance 1 where s^4 exceeds L M (Baik and Silverstein, 2006)."""
    generator = torch.Generator().manual_seed(1)
    short, long = 60, 240
    noise = torch.randn(short, long, dtype=torch.float64, generator=generator)
    u = torch.zeros(short, dtype=torch.float64)
    v = torch.zeros(long, dtype=torch.float64)
    u[0] = v[0] = 1
    hidden, seen = 0.5 * (short * long) ** 0.25, 6 * (short * long) ** 0.25
    assert planted_rank(Spectrum.of(noise + hidden * torch.outer(u, v))) == 0
    assert planted_rank(Spectrum.of(noise + seen * torch.outer(u, v))) == 1


def test_rule_gives_each_channel_rank_of_a_convolution():
    torch.manual_seed(6)
    layer = nn.Conv2d(24, 32, 3)
    with torch.no_grad():
        layer.weight.copy_(
            torch.einsum("to,oihw,si->tshw", torch.randn(32, 5), torch.randn(5, 3, 3, 3), torch.randn(24, 3))
        )
        layer.weight.add_(0.02 * torch.randn_like(layer.weight))
    assert VBMF().ranks("", method_named("tucker2").decompose(layer)) == (3, 5)
    assert VBMF().ranks("", method_named("cp").decompose(layer)) == (5,)
    assert isinstance(VBMF().ranks("", method_named("channel").decompose(nn.Conv2d(32, 32, 3))), str)
