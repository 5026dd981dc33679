"""Every pattern of channels that networks have, as a small module: pruned at random, exact, of its own class."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from .exactness import check

pytestmark = pytest.mark.torch

X = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(5))


def conv(a, b, k=3, **options):
    return nn.Sequential(nn.Conv2d(a, b, k, padding=k // 2, bias=False, **options), nn.BatchNorm2d(b), nn.ReLU())


def head(channels):
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 4))


class Lambda(nn.Module):
    """Named layers and a function of them and the inputs."""

    def __init__(self, function, **layers):
        super().__init__()
        self.function = function
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, *inputs):
        return self.function(self, *inputs)


def names(structure):
    return {g.name: g.size for g in structure.groups}


def test_residual():
    net = Lambda(
        lambda m, x: m.head((y := m.stem(x)) + m.b(m.a(y))), stem=conv(3, 8), a=conv(8, 12), b=conv(12, 8), head=head(8)
    )
    structure, _, _ = check(net, X)
    assert names(structure) == {"stem.0": 8, "a.0": 12}


def test_concatenation_with_normalisation_of_the_whole():
    net = Lambda(
        lambda m, x: m.head(F.relu(m.bn(torch.cat([m.a(x), m.b(x)], 1)))),
        a=conv(3, 8),
        b=conv(3, 6),
        bn=nn.BatchNorm2d(14),
        head=head(14),
    )
    structure, _, _ = check(net, X)
    assert names(structure) == {"a.0": 8, "b.0": 6}


def test_addition_to_a_part_of_a_concatenation_splits_groups():
    net = Lambda(
        lambda m, x: m.head(torch.cat([m.a(x), m.b(x)], 1) + m.c(x)),
        a=conv(3, 8),
        b=conv(3, 6),
        c=conv(3, 14),
        head=head(14),
    )
    structure, _, _ = check(net, X)
    assert sorted(names(structure).values()) == [6, 8]


@pytest.mark.parametrize(("channels", "groups"), [(16, 2), (16, 8), (24, 3), (18, 3)])
def test_grouped_convolution(channels, groups):
    net = nn.Sequential(conv(3, channels), conv(channels, channels, groups=groups), head(channels))
    structure, _, pruned = check(net, X)
    assert structure.groups
    assert pruned[1][0].in_channels % pruned[1][0].groups == 0


@pytest.mark.parametrize("multiplier", [1, 2])
def test_depthwise_convolution(multiplier):
    net = nn.Sequential(conv(3, 8), conv(8, 8 * multiplier, groups=8), conv(8 * multiplier, 6, 1), head(6))
    structure, _, pruned = check(net, X)
    assert names(structure) == {"0.0": 8, "2.0": 6}
    assert pruned[1][0].groups == 4


def test_squeeze_and_excitation():
    def forward(m, x):
        x = m.stem(x)
        return m.head(x * torch.sigmoid(m.up(F.silu(m.down(x.mean((2, 3), keepdim=True))))))

    net = Lambda(forward, stem=conv(3, 8), down=nn.Conv2d(8, 6, 1), up=nn.Conv2d(6, 8, 1), head=head(8))
    structure, _, _ = check(net, X)
    assert names(structure) == {"stem.0": 8, "down": 6}


def shuffle(x, groups):
    batch, channels, height, width = x.shape
    return x.view(batch, groups, channels // groups, height, width).transpose(1, 2).reshape(batch, -1, height, width)


def test_channel_shuffle_after_a_grouped_convolution():
    net = Lambda(
        lambda m, x: m.head(m.last(shuffle(m.grouped(m.stem(x)), 2))),
        stem=conv(3, 12),
        grouped=conv(12, 16, groups=2),
        last=conv(16, 8),
        head=head(8),
    )
    structure, _, pruned = check(net, X)
    assert [(g.name, g.size, g.width) for g in structure.groups] == [
        ("stem.0", 6, 2),
        ("grouped.0", 8, 2),
        ("last.0", 8, 1),
    ]
    assert pruned.grouped[0].groups == 2


@pytest.mark.parametrize(("groups", "width"), [(3, 120), (2, 48), (4, 160)])
def test_units_of_grouped_convolutions_around_a_shuffle(groups, width):
    """Rows of the shuffle, groups before and after it, groups of the residual stream, and a concatenation with it."""

    def unit(inputs, outputs, stride):
        middle = width // 4
        made = outputs - inputs if stride == 2 else outputs
        return Lambda(
            lambda m, x: F.relu(
                torch.cat([F.avg_pool2d(x, 3, 2, 1), m.c(m.b(shuffle(m.a(x), groups)))], 1)
                if stride == 2
                else x + m.c(m.b(shuffle(m.a(x), groups)))
            ),
            a=conv(inputs, middle, 1, groups=1 if inputs == 12 else groups),
            b=conv(middle, middle, stride=stride, groups=middle),
            c=conv(middle, made, 1, groups=groups),
        )

    layers = [conv(3, 12), unit(12, width, 2), unit(width, width, 1), unit(width, 2 * width, 2), head(2 * width)]
    structure, kept, pruned = check(nn.Sequential(*layers), X)
    made = {layer for group in structure.groups for layer in group.layers}
    assert made >= {"1.a.0", "1.c.0", "2.a.0", "2.c.0", "3.a.0", "3.c.0"}
    assert pruned[2].c[0].groups == groups
    assert all(len(kept[g.name]) < g.size for g in structure.groups)


def test_shuffle_unit_with_halved_channels():
    def forward(m, x):
        left, right = m.stem(x).chunk(2, 1)
        return m.head(shuffle(torch.cat([left, m.branch(right)], 1), 2))

    net = Lambda(forward, stem=conv(3, 16), branch=nn.Sequential(conv(8, 10, 1), conv(10, 8)), head=head(16))
    structure, _, _ = check(net, X)
    assert names(structure)["branch.0.0"] == 10
    assert len(structure.groups) == 2


def test_ghost_module_with_a_slice():
    def forward(m, x):
        y = m.primary(x)
        return m.head(torch.cat([y, m.cheap(y)], 1)[:, :13])

    net = Lambda(forward, primary=conv(3, 8), cheap=conv(8, 8, groups=8), head=head(13))
    _, _, pruned = check(net, X, graph=True)
    assert getattr(pruned.head, "2").in_features < 13


class Attention(nn.Module):
    """Heads by one reshape, as in vision transformers."""

    def __init__(self, dim, heads, fused):
        super().__init__()
        self.num_heads, self.head_dim, self.fused = heads, dim // heads, fused
        self.scale = self.head_dim**-0.5
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x):
        batch, length, _ = x.shape
        qkv = self.qkv(x).reshape(batch, length, 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        if self.fused:
            x = F.scaled_dot_product_attention(q, k, v)
        else:
            x = ((q * self.scale) @ k.transpose(-2, -1)).softmax(-1) @ v
        return self.proj(x.transpose(1, 2).reshape(batch, length, -1))


@pytest.mark.parametrize("fused", [False, True])
def test_attention_loses_whole_heads(fused):
    net = nn.Sequential(nn.Linear(5, 12), Attention(12, 4, fused), nn.Linear(12, 3))
    structure, _, pruned = check(net, torch.randn(1, 7, 5))
    assert [(g.name, g.size, g.width) for g in structure.groups] == [("0", 12, 1), ("1.qkv", 4, 9), ("1.proj", 12, 1)]
    assert (pruned[1].num_heads, pruned[1].head_dim) == (2, 3)


def test_separate_projections_of_heads():
    def forward(m, x):
        q, k, v = (layer(x).view(1, 7, 4, 3).transpose(1, 2) for layer in (m.q, m.k, m.v))
        y = torch.softmax(q @ k.transpose(2, 3) / 3**0.5, -1) @ v
        return m.out(y.transpose(1, 2).flatten(2))

    layers = {name: nn.Linear(5, 12) for name in "qkv"}
    structure, _, _ = check(Lambda(forward, **layers, out=nn.Linear(12, 3)), torch.randn(1, 7, 5), graph=True)
    assert names(structure) == {"q": 4}


@pytest.mark.parametrize("weights", [False, True])
def test_multihead_attention_of_torch(weights):
    net = Lambda(
        lambda m, x: m.out(m.attention(y := m.stem(x), y, y, need_weights=weights)[0] + y),
        stem=nn.Linear(5, 16),
        attention=nn.MultiheadAttention(16, 4, batch_first=True),
        out=nn.Linear(16, 3),
    )
    structure, _, pruned = check(net, torch.randn(2, 7, 5))
    assert names(structure) == {"stem": 16, "attention": 4}
    assert (pruned.attention.embed_dim, pruned.attention.num_heads) == (8, 2)
    assert isinstance(pruned.attention, nn.MultiheadAttention)


def test_flatten_to_linear_keeps_places_together():
    net = nn.Sequential(conv(3, 6), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(6 * 16, 10), nn.ReLU(), nn.Linear(10, 4))
    structure, _, pruned = check(net, X)
    assert names(structure) == {"0.0": 6, "3": 10}
    assert pruned[3].in_features == 3 * 16


def test_layer_norm_and_group_norm_shrink():
    net = nn.Sequential(nn.Linear(5, 12), nn.LayerNorm(12), nn.GELU(), nn.Linear(12, 3))
    structure, _, pruned = check(net, torch.randn(2, 5), tolerance=10.0)  # other statistics: another function
    assert pruned[1].normalized_shape == (6,)
    net = nn.Sequential(nn.Conv2d(3, 12, 3), nn.GroupNorm(4, 12), nn.ReLU(), nn.Conv2d(12, 4, 1))
    structure, _, pruned = check(net, X)
    assert names(structure) == {"0": 4}
    assert (pruned[1].num_groups, pruned[1].num_channels) == (2, 6)


def test_shared_layers_and_tied_weights():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.twice, self.other = conv(3, 8), nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
            self.other.weight = self.twice.weight
            self.head = head(8)

        def forward(self, x):
            return self.head(self.other(F.relu(self.twice(F.relu(self.twice(self.stem(x)))))))

    structure, _, pruned = check(Shared(), X)
    assert names(structure) == {"stem.0": 8}
    assert pruned.twice.weight is pruned.other.weight


def test_prelu_and_parameters_used_as_values():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.act = nn.Conv2d(3, 8, 3), nn.PReLU(8)
            self.gamma, self.shift = nn.Parameter(torch.randn(8, 1, 1)), nn.Parameter(torch.randn(1, 8, 6, 6))
            self.register_buffer("mean", torch.randn(1, 8, 1, 1))
            self.temperature = nn.Parameter(torch.tensor(0.7))
            self.head = head(8)

        def forward(self, x):
            x = self.act(self.stem(x)) * self.gamma
            return self.head((x - x * self.mean) * self.temperature * self.shift)

    structure, _, pruned = check(Scaled(), X)
    assert names(structure) == {"stem": 8}
    assert (pruned.gamma.shape, pruned.shift.shape, pruned.mean.shape) == ((4, 1, 1), (1, 4, 6, 6), (1, 4, 1, 1))


@pytest.mark.parametrize("groups", [1, 2, 8])
def test_transposed_convolution(groups):
    net = nn.Sequential(conv(3, 8), nn.ConvTranspose2d(8, 16, 2, 2, groups=groups), nn.ReLU(), nn.Conv2d(16, 4, 1))
    check(net, X)


def test_pixel_shuffle():
    net = nn.Sequential(nn.Conv2d(3, 24, 3), nn.PixelShuffle(2), nn.ReLU(), nn.Conv2d(6, 4, 1))
    structure, _, _ = check(net, X)
    assert [(g.size, g.width) for g in structure.groups] == [(6, 4)]


def test_two_inputs_and_several_outputs():
    def forward(m, x, y):
        a = m.a(x) + m.b(y)
        return [m.c(a), {"flat": m.d(a)}["flat"]]

    net = Lambda(forward, a=conv(3, 8), b=conv(2, 8), c=conv(8, 2), d=conv(8, 5))
    structure, _, _ = check(net, (X, torch.randn(1, 2, 8, 8)))
    assert names(structure) == {"a.0": 8}
    assert dict(structure.untouched) == dict.fromkeys(("c.0", "d.0"), "it is an output of the network")


def test_in_place_operations():
    def forward(m, x):
        y = m.a(x)
        y += m.b(x)
        y.mul_(2).relu_()
        return m.head(F.relu(y, inplace=True))

    structure, _, _ = check(Lambda(forward, a=conv(3, 8), b=conv(3, 8), head=head(8)), X)
    assert names(structure) == {"a.0": 8}


@pytest.mark.parametrize("pads", [(2, 2), (0, 4)])
def test_padded_shortcut_of_which_one_channel_is_left(pads):
    def forward(m, x):
        y = m.a(x).relu()
        return m.h(F.pad(y[:, :, ::2, ::2], (0, 0, 0, 0, *pads)) + m.b(y))

    layers = {"a": nn.Conv2d(3, 4, 3, padding=1), "b": nn.Conv2d(4, 8, 3, stride=2, padding=1), "h": nn.Conv2d(8, 4, 1)}
    _, kept, _ = check(Lambda(forward, **layers), X, part=0.75, graph=True)
    assert len(kept["a"]) == 1


def test_padded_shortcut_adds_channels():
    def forward(m, x):
        x = m.stem(x)
        return m.head(m.down(x) + F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 4)))

    net = Lambda(forward, stem=conv(3, 8), down=conv(8, 14, stride=2), head=head(14))
    structure, _, _ = check(net, X, graph=True)
    assert sorted(names(structure).values()) == [
        6,
        8,
    ]  # the padded channels of the second, and the others with the first


def test_concatenation_with_tokens_and_positions():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.patch, self.cls = nn.Conv2d(3, 8, 4, 4), nn.Parameter(torch.randn(1, 1, 8))
            self.position, self.out = nn.Parameter(torch.randn(1, 5, 8)), nn.Linear(8, 3)

        def forward(self, x):
            x = self.patch(x).flatten(2).transpose(1, 2)
            x = torch.cat([self.cls.expand(x.shape[0], -1, -1), x], 1) + self.position
            return self.out(x[:, 0])

    structure, _, pruned = check(Tokens(), X)
    assert names(structure) == {"patch": 8}
    assert (pruned.cls.shape, pruned.position.shape) == ((1, 1, 4), (1, 5, 4))


def test_numbers_in_the_code_are_rewritten():
    net = Lambda(lambda m, x: m.out(m.stem(x).reshape(1, 8, 64).mean(2)), stem=conv(3, 8), out=nn.Linear(8, 4))
    check(net, X, graph=True)


def test_numbers_in_attributes_are_changed_in_place():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.width, self.stem, self.out = 8, conv(3, 8), nn.Linear(8, 4)

        def forward(self, x):
            return self.out(self.stem(x).reshape(1, self.width, 64).mean(2))

    _, _, pruned = check(Named(), X)
    assert pruned.width == 4


def test_unflatten_module():
    net = nn.Sequential(conv(3, 12), nn.Unflatten(1, (2, 6)), nn.ReLU(), nn.Flatten(1, 2), conv(12, 4))
    structure, _, pruned = check(net, X)
    assert names(structure) == {"0.0": 6}
    assert pruned[1].unflattened_size == (2, 3)


def test_what_is_not_understood_stays_and_says_why():
    net = Lambda(lambda m, x: m.out(torch.linalg.qr(m.a(x))[0] + m.b(x)), a=conv(3, 8), b=conv(3, 8), out=conv(8, 4))
    net.more, old = conv(4, 6), net.function
    net.last = conv(6, 2)
    net.function = lambda m, x: m.last(m.more(old(m, x)))
    structure, _, _ = check(net, X)
    assert names(structure) == {"out.0": 4, "more.0": 6}
    assert "linalg_qr" in dict(structure.untouched)["a.0"]
    assert "combines it with what is fixed" in dict(structure.untouched)["b.0"]


def test_parametrised_layers_stay():
    net = nn.Sequential(conv(3, 8), nn.utils.parametrizations.weight_norm(nn.Conv2d(8, 6, 3)), conv(6, 8), head(8))
    structure, _, _ = check(net, X)
    assert names(structure) == {"2.0": 8}
    assert "is computed" in dict(structure.untouched)["0.0"]


def test_depends_on_values_stays():
    class Gate(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else 2 * x

    net = nn.Sequential(conv(3, 8), Gate(), conv(8, 6), head(6))
    structure, _, _ = check(net, X)
    assert names(structure) == {"2.0": 6}
    assert "cannot be traced" in dict(structure.untouched)["0.0"]
