"""Modules as people have them: other data types and devices, hooks, constants in the code, keyword arguments."""

from typing import NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edgesmith.compress.prune import IMPORTANCE, GroupLasso, analyse, prune, recalibrate, stepwise

from .exactness import check

pytestmark = pytest.mark.torch

X = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LABELLED = [(X, torch.tensor([0, 1]))]


class Parts(NamedTuple):
    deep: torch.Tensor
    shallow: torch.Tensor


def conv(inputs=3, outputs=16):
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def classifier():
    torch.manual_seed(0)
    return nn.Sequential(
        conv(), nn.BatchNorm2d(16), nn.ReLU(), conv(16, 4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )


def between(of=16):
    """A module whose ``middle`` stands between two convolutions."""

    def make(middle):
        class Between(nn.Module):
            def __init__(self):
                super().__init__()
                self.first, self.last = conv(), conv(of, 5)

            def forward(self, x):
                return self.last(middle(self.first(x)))

        return Between()

    return make


def first_is_untouched(module, why):
    structure = analyse(module, X)
    reasons = dict(structure.untouched)
    assert why in reasons["first"]


@between(of=8)
def best_two_channels(y):
    return y.flatten(2).topk(8, 1)[0].reshape(2, 8, 8, 8)


@between()
def softmax_without_an_axis(y):
    return F.softmax(y)


@between(of=8)
def every_second_channel(y):
    return y[:, ::2]


@between()
def constant_by_channel(y):
    return y * torch.arange(16.0).reshape(16, 1, 1)


@pytest.mark.filterwarnings("ignore:Implicit dimension")
@pytest.mark.parametrize(
    ("module", "why"),
    [
        (best_two_channels, "topk works over channels"),
        (softmax_without_an_axis, "works over channels"),
        (every_second_channel, "every nth"),
        (constant_by_channel, "with what is fixed"),
    ],
)
def test_operations_that_tell_channels_apart_keep_them(module, why):
    first_is_untouched(module, why)


@between()
def best_places(y):
    return y.flatten(2).topk(9, 2)[0].reshape(2, -1, 3, 3)


@between()
def keywords(y):
    more = torch.cat(tensors=[y, y], dim=1)
    return torch.flatten(input=more[:, :16], start_dim=2).unflatten(2, (8, 8))


@between()
def named_results(y):
    best = y.flatten(2).topk(9, 2).values.reshape(2, -1, 3, 3)
    return best + torch.max(y, 3, keepdim=True).values.amax(2, keepdim=True)


@between()
def types_of_other_tensors(y):
    table = torch.ones(4, 5).type_as(y)
    return y / torch.sqrt(torch.tensor(8.0)).to(y) + table[0, 0]


@between()
def constant_that_is_not_by_channel(y):
    return y * torch.arange(8.0) + torch.ones(1)


@pytest.mark.parametrize(
    ("module", "graph"),
    [
        (best_places, False),
        (keywords, True),
        (named_results, False),
        (types_of_other_tensors, False),
        (constant_that_is_not_by_channel, False),
    ],
)
def test_other_operations_pass_them(module, graph):
    structure, _, _ = check(module, X, graph=graph)
    assert "first" in [group.name for group in structure.groups]
    assert not any(name.startswith("_tensor_constant") for name in vars(module))


def test_results_of_ones_own_are_taken_by_name_and_layers_of_one_type_are_not_coupled():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.last = conv(), conv(16, 16), conv(16, 4)

        def forward(self, x):
            y = self.a(x).relu()
            return self.last(Parts(self.b(y).type_as(y), y).deep)

    structure, _, _ = check(Two(), X)
    assert [(group.name, group.layers) for group in structure.groups] == [("a", ("a",)), ("b", ("b",))]


def test_weight_that_a_hook_computes_stays():
    module = nn.Sequential(conv(), nn.ReLU(), conv(16, 16), nn.ReLU(), conv(16, 4))
    nn.utils.spectral_norm(module[2])
    structure = analyse(module, X)
    assert dict(structure.untouched)["0"] == "2: the weight of the convolution is computed"


def test_mask_for_each_head_keeps_the_heads():
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.attention = nn.Linear(6, 8), nn.MultiheadAttention(8, 4, batch_first=True)

        def forward(self, x, mask):
            y = self.embed(x)
            return self.attention(y, y, y, attn_mask=mask)[0].sum(-1)

    structure = analyse(Masked(), (torch.randn(1, 5, 6), torch.randn(4, 5, 5)))
    assert dict(structure.untouched)["attention"] == "attention gets a mask for each head"


def halves():
    """Two groups of one layer, apart by what reads them."""

    class Halves(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.left, self.right = conv(), conv(8, 4), conv(8, 4)

        def forward(self, x):
            y = self.first(x)
            return torch.cat([self.left(y[:, :8]), self.right(y[:, 8:])], 1).mean((1, 2, 3)).reshape(
                -1, 1
            ) * torch.ones(2)

    return Halves()


def test_names_of_groups_outlive_other_groups():
    whole = {group.name: group.readers for group in analyse(halves(), X).groups}
    assert {"first": ("left",), "first#2": ("right",)}.items() <= whole.items()
    smaller = prune(halves(), X, ratios={"first": 7 / 8}).module
    left = {group.name: group.readers for group in analyse(smaller, X).groups}
    assert left == {name: readers for name, readers in whole.items() if name != "first"}


def test_steps_tell_the_groups_of_one_layer_apart():
    def first_half_last(scoring):
        scores = np.ones(scoring.structure.units)
        for group in scoring.structure.groups:
            scores[group.units] = np.arange(group.size)
        return scores

    found = stepwise(
        halves(), X, data=LABELLED, ratios={"first": 7 / 8, "first#2": 0.5}, steps=3, importance=first_half_last
    )
    assert {name: list(units) for name, units in found.groups.items()} == {"first": [7], "first#2": [4, 5, 6, 7]}


@pytest.mark.parametrize("importance", sorted(IMPORTANCE))
def test_default_device_is_not_where_the_module_is(importance):
    module = classifier()
    with torch.device("meta"):
        found = prune(module, X, macs=0.6, importance=importance, data=LABELLED, compensation="rescale")
        GroupLasso(module, X, 1.0)()
    assert {p.device.type for p in found.module.parameters()} == {"cpu"}


@pytest.mark.parametrize("importance", ["l2", "variance"])
def test_half_precision_ranks_as_single_precision(importance):
    """Squares of these weights and activations are zero or infinite in half precision."""
    module = nn.Sequential(conv(), nn.Flatten(), nn.Linear(1024, 2)).half().float()
    scale = 2.0 ** torch.arange(16)
    with torch.no_grad():
        module[0].weight.mul_(1e-4 if importance != "variance" else scale.reshape(-1, 1, 1, 1) / 16)
        module[0].weight.mul_(torch.linspace(1, 2, 16).reshape(-1, 1, 1, 1))
        module[2].weight.mul_(1e-3)
    module.half().float()
    kept = []
    for dtype in (torch.float32, torch.float16):
        data = [(x.to(dtype), labels) for x, labels in LABELLED]
        kept.append(prune(module.to(dtype), X.to(dtype), macs=0.5, importance=importance, data=data).groups["0"])
    assert len(set(kept[0]) & set(kept[1])) >= 7


def test_penalty_and_scores_of_half_precision_and_without_gradients():
    module = classifier().bfloat16()
    GroupLasso(module, X.bfloat16(), 1e-3)().backward()
    assert module[0].weight.grad.dtype == torch.bfloat16
    with torch.no_grad():
        assert prune(classifier(), X, macs=0.6, data=LABELLED).after.macs > 0


class Keywords(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = conv(), conv(16, 5)

    def forward(self, batch):
        return self.last(input=torch.relu(self.first(input=batch["x"]))).mean((2, 3))


@pytest.mark.parametrize("importance", ["taylor", "variance", "thinet"])
def test_inputs_in_a_dict_and_layers_called_by_keyword(importance):
    data = [({"x": X}, torch.tensor([0, 1]))]
    found = prune(Keywords(), {"x": X}, macs=0.5, importance=importance, data=data)
    assert found.module.first.out_channels == 8


def test_statistics_are_as_before_when_a_batch_fails():
    module = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8))
    module(torch.randn(9, 4))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with pytest.raises(ValueError, match="more than 1 value"):
        recalibrate(module, [torch.randn(8, 4), torch.randn(1, 4)])
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())


def test_a_depthwise_convolution_may_keep_a_single_channel():
    class Depthwise(nn.Module):
        """With convolutions that are calls of functions, of which one is depthwise and one has two groups."""

        def __init__(self):
            super().__init__()
            self.first, self.middle, self.last = conv(3, 8), nn.Conv2d(8, 8, 3, groups=8), conv(8, 5)
            self.weight, self.other = nn.Parameter(torch.randn(8, 4, 3, 3)), nn.Parameter(torch.randn(8, 1, 3, 3))

        def forward(self, x):
            y = F.conv2d(self.first(x), self.weight, groups=2)
            return self.last(F.conv2d(self.middle(y), self.other, groups=8))

    module = nn.Sequential(conv(3, 8), nn.Conv2d(8, 8, 3, groups=8), nn.BatchNorm2d(8), conv(8, 5))
    _, _, pruned = check(module, X, part=7 / 8)
    assert (pruned[1].groups, pruned[1].weight.shape) == (1, (1, 1, 3, 3))
    structure, _, _ = check(Depthwise(), X, graph=True)
    assert not {"first", "middle"} & set(dict(structure.untouched))


def test_number_of_groups_of_a_function_follows():
    """Eight channels in four groups would run as well, and be another function."""

    @between()
    def normalised(y):
        return F.group_norm(y, 4)

    _, kept, _ = check(normalised, X, graph=True)
    assert len(kept["first"]) == 2


class Auxiliary(nn.Module):
    """A second classifier that runs in training alone, with a linear layer or a parameter."""

    def __init__(self):
        super().__init__()
        self.first, self.middle, self.last = conv(), conv(16, 12), nn.Linear(12, 5)
        self.norm = nn.BatchNorm2d(12)
        self.aux, self.more = nn.Linear(12, 5), nn.Parameter(torch.randn(5, 5))

    def forward(self, x):
        y = self.norm(self.middle(self.first(x).relu())).relu().mean((2, 3))
        return (self.last(y), self.aux(y) @ self.more) if self.training else self.last(y)


def test_what_training_alone_reads_stays():
    module = Auxiliary()
    structure, _, pruned = check(module, X)
    assert [group.name for group in structure.groups] == ["first"]
    assert dict(structure.untouched)["middle"] == "aux reads it in training"
    found, second = pruned.train()(X)
    assert found.shape == second.shape
    assert (module.norm.num_batches_tracked, module.training) == (0, False)


def test_training_that_cannot_be_traced_is_told():
    class ByValue(Auxiliary):
        def forward(self, x):
            y = super().forward(x)
            return y if not self.training or y[0].sum() > 0 else y[::-1]

    assert "training cannot be traced" in dict(analyse(ByValue().eval(), X).untouched)["aux"]
