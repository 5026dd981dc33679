"""Code that tells channels apart by their places, or computes with how many there are."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edgesmith.compress.prune import analyse, cut, prune

from .exactness import check, compare, zeroed

pytestmark = pytest.mark.torch

X = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """A function of layers, between a convolution and a reader."""

    def __init__(self, function, **layers):
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 5, 3, padding=1)
        for name, layer in layers.items():
            setattr(self, name, layer)
        self.function = function

    def forward(self, x):
        return self.last(self.function(self, self.first(x))).mean((2, 3))


def shifted(m, y):
    """A temporal shift moves some channels one way, some the other."""
    return torch.cat([y[:, :4].roll(1, 2), y[:, 4:8].roll(-1, 2), y[:, 8:]], 1)


def halved_in_place(m, y):
    y[:, :8].mul_(0.5)
    return y


def gated_by_one(m, y):
    return y * torch.sigmoid(y[:, 3:4]) + y[:, 5].unsqueeze(1)


def scaled_by_width(m, y):
    return y * y.shape[1] ** -0.5


def scaled_by_attribute(m, y):
    return (y.reshape(-1, m.width, 64) / m.width).reshape(-1, m.width, 8, 8)


def branched_by_width(m, y):
    return y * 2 if y.shape[1] > 10 else y


def padded_by_what_lacks(m, y):
    more = -y.shape[-1] % 5
    return F.pad(y.view(2, 16, 8, 8), (more, 0, more, 0))


def windows(m, y):
    around = y.shape[2:]
    y = y.view(2, 16, 8, 8).flatten(2).transpose(1, 2)
    return y.reshape(y.shape[:1] + around + (-1,)).permute(0, 3, 1, 2)


def ends(m, y):
    return y.view(2, 16, 64).sort(2).values.reshape(y.shape)


@pytest.mark.parametrize(
    "function",
    [
        shifted,
        halved_in_place,
        gated_by_one,
        scaled_by_width,
        scaled_by_attribute,
        branched_by_width,
        padded_by_what_lacks,
        windows,
        ends,
    ],
)
def test_code_with_numbers_of_channels_computes_what_it_did(function):
    net = Net(function)
    net.width = 16
    structure, _, _ = check(net, X, graph=True)
    assert dict(structure.untouched).keys() == {"last"}


def chosen(m, y):
    return y[:, m.order]


def selected(m, y):
    return torch.index_select(y, 1, m.order)


def rolled(m, y):
    return y.roll(4, 1)


@pytest.mark.parametrize("function", [chosen, selected, rolled])
def test_channels_that_numbers_pick_stay(function):
    net = Net(function)
    net.register_buffer("order", torch.randperm(16, generator=torch.Generator().manual_seed(0)))
    assert "picks channels by their numbers" in dict(analyse(net, X).untouched)["first"]


@pytest.mark.parametrize(
    ("gated", "mods"), [(lambda m, y: F.glu(y, 1), {}), (lambda m, y: m.glu(y), {"glu": nn.GLU(1)})]
)
def test_gates_go_with_their_channels(gated, mods):
    net = Net(lambda m, y: gated(m, m.wide(y)), wide=nn.Conv2d(16, 32, 1), **mods)
    structure, kept, pruned = check(net, X)
    assert structure.group("wide").size == 16 and structure.group("wide").width == 2
    assert pruned.wide.out_channels == 2 * len(kept["wide"])


@pytest.mark.parametrize(("equation", "shape"), [("...c,cd->...d", (16, 12)), ("btc, dc -> btd", (12, 16))])
def test_einsum_with_a_parameter_is_a_linear_layer(equation, shape):
    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.weight, self.last = nn.Linear(6, 16), nn.Parameter(torch.randn(shape)), nn.Linear(12, 4)

        def forward(self, x):
            return self.last(torch.einsum(equation, self.first(x), self.weight).relu())

    structure, _, _ = check(Sum(), torch.randn(2, 7, 6))
    assert {group.name: group.size for group in structure.groups} == {"first": 16, "": 12}


class Standardised(nn.Conv2d):
    def __init__(self, *sizes, **options):
        super().__init__(*sizes, **options)
        self.gain = nn.Parameter(torch.rand(self.out_channels, 1, 1, 1) + 0.5)

    def forward(self, x):
        mean = self.weight.mean((1, 2, 3), keepdim=True)
        return self._conv_forward(x, (self.weight - mean) * self.gain, self.bias)


class Rotated(nn.Conv2d):
    def forward(self, x):
        return super().forward(x.roll(1, 1))


class Adapted(nn.Linear):
    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        self.down, self.up = nn.Parameter(torch.randn(2, inputs)), nn.Parameter(torch.randn(outputs, 2))

    def forward(self, x):
        return super().forward(x) + x @ self.down.T @ self.up.T


def test_subclass_with_a_parameter_by_output_channel():
    net = Net(lambda m, y: m.own(y), own=Standardised(16, 16, 3, padding=1))
    structure = analyse(net.eval(), X)
    pruned, _ = cut(structure, {"own": range(3, 11)})
    assert pruned.own.gain.shape == (8, 1, 1, 1)
    compare(zeroed(structure, {"own": range(3, 11)})(X), pruned(X), 1e-5)


@pytest.mark.parametrize(("own", "x"), [(Rotated(16, 16, 3, padding=1), X), (Adapted(16, 16), X)])
def test_subclass_that_is_another_layer_stays(own, x):
    is_linear = isinstance(own, nn.Linear)
    net = Net(lambda m, y: m.own(y.movedim(1, -1)).movedim(-1, 1) if is_linear else m.own(y), own=own)
    reasons = dict(analyse(net, x).untouched)
    assert f"{type(own).__name__} computes something else" in reasons["own"]
    assert f"{type(own).__name__} computes something else" in reasons["first"]


def test_nothing_to_prune():
    net = nn.Sequential(nn.Linear(3, 4))
    found = prune(net, X[..., :3], ratios={})
    assert found.after == found.before and found.module is not net


@pytest.mark.parametrize("norm_first", [False, True])
def test_transformer_layers_evaluate_without_gradients(norm_first):
    """PyTorch's layer reads the weights of its attention itself then, and supposes that heads fill the embedding."""
    net = nn.Sequential(
        nn.Linear(6, 16),
        nn.TransformerEncoderLayer(16, 4, 32, batch_first=True, norm_first=norm_first),
        nn.Linear(16, 4),
    ).eval()
    x = torch.randn(2, 5, 6)
    groups = ["1.self_attn", "1.linear1"]
    _, _, pruned = check(net, x, groups=groups)
    assert pruned[1].self_attn.num_heads == 2
    with torch.no_grad():
        found = pruned(x)
    compare(pruned(x), found, 1e-5)


class Sliced(nn.Module):
    """Reads channels at stated places, and adds other channels to them."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.all, self.some = nn.Conv2d(8, 4, 1), nn.Conv2d(3, 4, 1)

    def forward(self, x):
        y = self.a(x)
        return self.all(y) + self.some(y[:, 2:5] + self.b(x))


def test_the_last_channel_of_a_group_is_read_where_it_is():
    torch.manual_seed(0)
    module, x = Sliced().double().eval(), X.double()
    structure = analyse(module, x)
    assert [g.size for g in structure.groups] == [5, 3]
    for units in ([0], [0]), ([4], [2]), ([1, 2, 3], [1]), ([2, 3], [1]), ([2], [0, 1, 2]):
        kept = {group.name: np.array(left) for group, left in zip(structure.groups, units, strict=True)}
        pruned, _ = cut(structure, kept)
        with torch.no_grad():
            compare(zeroed(structure, kept)(x), pruned(x), 1e-12)


def test_a_single_channel_under_slopes_by_channel():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.PReLU(8), nn.Conv2d(8, 4, 3)).eval()
    nn.init.uniform_(module[1].weight)
    structure = analyse(module, X)
    kept = {structure.groups[0].name: np.array([5])}
    pruned, _ = cut(structure, kept)
    with torch.no_grad():
        compare(zeroed(structure, kept)(X), pruned(X), 1e-5)
