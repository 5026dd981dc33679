"""What factors lose, against theory."""

import pytest
import torch
from torch import nn

from edgesmith.compress.lowrank import BlockTerm, factorize_layer
from edgesmith.compress.lowrank.blocks import blocks
from edgesmith.compress.lowrank.canonical import canonical
from edgesmith.compress.lowrank.method import method_named
from edgesmith.compress.lowrank.tucker import tucker

pytestmark = pytest.mark.torch


def kernel_of(chain, layer):
    """The kernel of a chain without strides, padding and bias: what it makes of single impulses."""
    height, width = layer.kernel_size
    impulses = torch.zeros(layer.in_channels, layer.in_channels, 2 * height - 1, 2 * width - 1, dtype=torch.float64)
    impulses[range(layer.in_channels), range(layer.in_channels), height - 1, width - 1] = 1
    with torch.no_grad():
        return chain.double()(impulses).flip(2, 3).transpose(0, 1)


@pytest.mark.parametrize("method", ["channel", "spatial", "tucker2", "cp", BlockTerm(groups=2)])
def test_reported_error_is_that_of_the_layers_kernel(method):
    torch.manual_seed(0)
    layer = nn.Conv2d(6, 8, (3, 2), bias=False)
    chosen = method_named(method) if isinstance(method, str) else method
    decomposition = chosen.decompose(layer)
    ranks = decomposition.fitted([4] * len(decomposition.limits))
    kernel = kernel_of(factorize_layer(layer, method, ranks), layer)
    weight = layer.weight.detach().double()
    error = float((weight - kernel).norm() / weight.norm())
    assert decomposition.factors(ranks).error == pytest.approx(error, abs=1e-6)
    assert 0.05 < error < 1


@pytest.mark.parametrize(("method", "unfold"), [("channel", (0, 1, 2, 3)), ("spatial", (0, 3, 1, 2))])
def test_error_is_the_energy_of_the_singular_values_that_are_cut(method, unfold):
    torch.manual_seed(1)
    layer = nn.Conv2d(5, 7, 3, bias=False)
    weight = layer.weight.detach().double()
    rows = 7 if method == "channel" else 21
    values = torch.linalg.svdvals(weight.permute(unfold).reshape(rows, -1))
    decomposition = method_named(method).decompose(layer)
    for rank in range(1, 8):
        expected = float(values[rank:].norm() / values.norm())
        assert decomposition.factors((rank,)).error == pytest.approx(expected, abs=1e-7)


def test_energy_keeps_its_share_and_no_more_ranks_than_needed():
    torch.manual_seed(2)
    layer = nn.Linear(20, 30)
    decomposition = method_named("svd").decompose(layer)
    for energy in (0.3, 0.6, 0.9, 0.99, 1.0):
        (rank,) = decomposition.keeping(energy)
        assert 1 - decomposition.factors((rank,)).error ** 2 >= energy - 1e-9
        assert rank == 1 or 1 - decomposition.factors((rank - 1,)).error ** 2 < energy
    assert decomposition.keeping(1.0) == (20,)


@pytest.mark.parametrize("method", ["tucker2", "cp", BlockTerm(groups=2)])
def test_ranks_that_keep_energy_keep_it(method):
    torch.manual_seed(3)
    layer = nn.Conv2d(12, 12, 3)
    with torch.no_grad():
        layer.weight.copy_(torch.einsum("tr,sr,hr,wr->tshw", *(torch.randn(n, 3) for n in (12, 12, 3, 3))))
        layer.weight.add_(0.05 * torch.randn_like(layer.weight))
    chosen = method_named(method) if isinstance(method, str) else method
    decomposition = chosen.decompose(layer)
    ranks = decomposition.keeping(0.9)
    assert ranks is not None
    assert 1 - decomposition.factors(ranks).error ** 2 >= 0.9


@pytest.mark.parametrize("method", ["cp", BlockTerm(groups=4)])
def test_noise_has_no_small_factors(method):
    torch.manual_seed(4)
    chosen = method_named(method) if isinstance(method, str) else method
    assert chosen.decompose(nn.Conv2d(8, 8, 3)).keeping(0.99) is None


def test_canonical_errors_fall_as_the_rank_grows_and_never_exceed_the_norm():
    weight = torch.randn(8, 6, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    errors = [canonical(weight, rank).error for rank in (1, 2, 4, 8, 16, 32)]
    assert errors[0] <= 1
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.4 * errors[0]
    assert all(canonical(weight, rank, sweeps=1).error <= 1 for rank in (1, 10, 60))


def test_canonical_recovers_planted_components():
    generator = torch.Generator().manual_seed(5)
    factors = [torch.randn(n, 4, dtype=torch.float64, generator=generator) for n in (9, 8, 3, 3)]
    assert canonical(torch.einsum("tr,sr,hr,wr->tshw", *factors), 4).error < 1e-3


def test_components_that_cancel_each_other_stay_bounded():
    """a a b + a b a + b a a has no best approximation of rank 2: its components grow without bound."""
    a, b = torch.eye(2, dtype=torch.float64)
    tensor = sum(torch.einsum("i,j,k->ijk", *three) for three in ((a, a, b), (a, b, a), (b, a, a)))
    found = canonical(tensor[:, :, :, None], 2, sweeps=1500)
    sizes = torch.stack([f.norm(dim=0) for f in (found.outputs, found.inputs, found.height, found.width)]).prod(0)
    assert sizes.max() < 30 * tensor.norm()
    assert found.error < 0.2


def test_block_errors_fall_as_ranks_and_blocks_grow_and_never_exceed_the_norm():
    weight = torch.randn(12, 8, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    by_rank = [blocks(weight, 2, rank, rank).error for rank in (1, 2, 4, 6, 8)]
    by_number = [blocks(weight, number, 2, 2).error for number in (1, 2, 4, 8)]
    for errors in (by_rank, by_number):
        assert errors[0] < 1
        assert errors == sorted(errors, reverse=True)


def test_planted_blocks_are_fitted_better_than_by_one_block_of_the_same_size():
    """Of one block of ranks (4, 4) about as many numbers are stored as of three of (2, 2). Some starts end early."""
    errors = []
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)

        def randn(*shape, generator=generator):
            return torch.randn(*shape, dtype=torch.float64, generator=generator)

        weight = sum(torch.einsum("to,oihw,si->tshw", randn(16, 2), randn(2, 2, 3, 3), randn(16, 2)) for _ in range(3))
        errors.append(blocks(weight, 3, 2, 2).error)
        one = float((weight - tucker(weight, 4, 4).tensor()).norm() / weight.norm())
        assert errors[-1] < 0.7 * one
    assert min(errors) < 0.01


def test_weights_of_zero_have_factors():
    zero = torch.zeros(4, 4, 3, 3, dtype=torch.float64)
    assert len(blocks(zero, 2, 1, 1).parts) == 2
    assert canonical(zero, 2).error == 0
