"""Each criterion against what it is by definition, on layers small enough to compute that by hand."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edgesmith.compress.prune import IMPORTANCE, Scoring, analyse

pytestmark = pytest.mark.torch


def two_layers(norm=True):
    torch.manual_seed(3)
    middle = [nn.BatchNorm2d(6)] if norm else []
    net = nn.Sequential(nn.Conv2d(2, 6, 3, bias=False), *middle, nn.ReLU(), nn.Conv2d(6, 4, 1), nn.Flatten())
    if norm:
        net[1].weight.data = torch.rand(6) + 0.2
        net[1].bias.data = torch.randn(6)
    return net.eval()


def batches():
    generator = torch.Generator().manual_seed(4)
    return [
        (torch.randn(8, 2, 3, 3, generator=generator), torch.randint(0, 4, (8,), generator=generator)) for _ in range(3)
    ]


def loss(module, batch):
    return F.cross_entropy(module(batch[0]), batch[1])


def score(name, net):
    structure = analyse(net, torch.zeros(1, 2, 3, 3))
    assert [g.size for g in structure.groups] == [6]
    return IMPORTANCE[name](Scoring(structure, batches(), loss))


def test_norms_are_over_all_coupled_weights():
    net = two_layers()
    made, norm, read = net[0].weight, net[1], net[3].weight
    l1 = made.abs().sum((1, 2, 3)) + norm.weight.abs() + norm.bias.abs() + read.abs().sum((0, 2, 3))
    l2 = made.square().sum((1, 2, 3)) + norm.weight.square() + norm.bias.square() + read.square().sum((0, 2, 3))
    np.testing.assert_allclose(score("l1", net), l1.detach(), rtol=1e-5)
    np.testing.assert_allclose(score("l2", net), l2.detach().sqrt(), rtol=1e-5)


def test_scale_of_batch_normalisation():
    net = two_layers()
    np.testing.assert_allclose(score("bn_scale", net), net[1].weight.detach().abs(), rtol=1e-6)
    bare = score("bn_scale", two_layers(norm=False))
    assert np.isfinite(bare).all()
    assert bare.std() > 0


def test_geometric_median_is_least_for_the_filter_in_the_middle():
    net = two_layers()
    net[0].weight.data = torch.randn(6, 2, 3, 3)
    net[0].weight.data[2] = net[0].weight.data[[0, 1, 3, 4, 5]].mean(0)
    scores = score("fpgm", net)
    assert scores.argmin() == 2
    flat = net[0].weight.detach().reshape(6, -1)
    np.testing.assert_allclose(scores[0], sum(float((flat[0] - other).norm()) for other in flat), rtol=1e-4)


def test_response_and_variance_of_activations():
    net = two_layers()
    activations = torch.cat([net[:3](x) for x, _ in batches()]).detach()[:, :, 0, 0]
    np.testing.assert_allclose(score("response", net), activations.abs().mean(0), rtol=1e-5)
    np.testing.assert_allclose(score("variance", net), activations.var(0, correction=0), rtol=1e-3, atol=1e-6)


def test_taylor_is_activation_times_gradient():
    net, expected = two_layers(), np.zeros(6)
    for batch in batches():
        activations = net[:3](batch[0]).detach().requires_grad_(True)
        F.cross_entropy(net[3:](activations), batch[1]).backward()
        expected += (activations * activations.grad).sum((0, 2, 3)).detach().numpy() ** 2 / 3
    np.testing.assert_allclose(score("taylor", net), expected, rtol=1e-4, atol=1e-12)


def test_hessian_is_squared_weight_times_mean_squared_gradient():
    net, expected = two_layers(), torch.zeros(6)
    for batch in batches():
        net.zero_grad()
        loss(net, batch).backward()
        parts = [(net[0].weight, (1, 2, 3)), (net[1].weight, ()), (net[1].bias, ()), (net[3].weight, (0, 2, 3))]
        for tensor, dims in parts:
            squares = (tensor * tensor.grad).square().detach()
            expected += (squares.sum(dims) if dims else squares) / 6
    np.testing.assert_allclose(score("hessian", net), expected, rtol=1e-4, atol=1e-12)


def test_reconstruction_finds_channels_that_change_nothing():
    net = two_layers(norm=False)
    net[2].weight.data[:, 4] = 0
    net[0].weight.data[1] = net[0].weight.data[5]  # what 1 adds, 5 takes away
    net[2].weight.data[:, 1] = -net[2].weight.data[:, 5]
    scores = score("thinet", net) / score("thinet", net).max()
    assert scores.argmin() == 4
    assert scores[4] < 1e-9
    last = scores.argsort()[-1]
    assert scores[last] > max(np.delete(scores, last)) * (1 + 1e-9)


@pytest.mark.parametrize(
    "reader",
    [
        nn.Conv2d(8, 6, 3, padding="same"),
        nn.Conv2d(8, 6, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(8, 8, 3, groups=2, stride=2),
        nn.Conv1d(8, 6, 3, dilation=2),
        nn.Conv3d(8, 6, 1),
    ],
)
def test_reconstruction_looks_at_every_kind_of_convolution(reader):
    torch.manual_seed(0)
    dims = reader.weight.ndim - 2
    makes = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[dims](2, 8, 1)
    net = nn.Sequential(makes, nn.ReLU(), reader, nn.Flatten()).eval()
    with torch.no_grad():
        makes.bias += 1
        reader.weight[:, -1] = 0  # of every group
    data = [torch.randn(8, 2, *[7] * dims)]
    structure = analyse(net, data[0][:1])
    (group, *_) = structure.groups
    scores = IMPORTANCE["thinet"](Scoring(structure, data, loss))[group.units]
    idle = [axis.units[-1] for axis in structure.axes if axis.tensor == "2.weight" and axis.role == "in"]
    assert scores.argmin() in idle
    assert (np.delete(scores, scores.argmin()) > 1e-6).sum() >= len(scores) - reader.groups


@pytest.mark.parametrize("criterion", ["thinet", "response", "variance", "bn_scale"])
def test_units_that_a_criterion_cannot_see_are_told_apart_by_their_weights(criterion):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(4, 8), nn.Parameter(torch.rand(8, 3) + 0.5)

        def forward(self, x):
            return torch.einsum("bi,io->bo", self.first(x).relu(), self.second)

    net = Net().eval()
    with torch.no_grad():
        for tensor, places in ((net.first.weight, 3), (net.first.bias, 3), (net.second, 3)):
            tensor[places] = 1e-6
    structure = analyse(net, torch.zeros(1, 4))
    assert [group.size for group in structure.groups] == [8]
    assert IMPORTANCE[criterion](Scoring(structure, [torch.randn(8, 4)], loss)).argmin() == 3


def test_random_depends_on_the_seed_alone():
    structure = analyse(two_layers(), torch.zeros(1, 2, 3, 3))
    first, again, other = (IMPORTANCE["random"](Scoring(structure, None, loss, seed)) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()
