"""Pruning as one call: targets are met exactly, what is promised about the result holds."""

import doctest

import pytest
import torch
from torch import nn

from edgesmith.compress import counting
from edgesmith.compress.prune import (
    IMPORTANCE,
    ScalePenalty,
    analyse,
    apply_shape,
    cut,
    groups,
    prune,
    pruning,
    stepwise,
)
from edgesmith.errors import BadInput

pytestmark = pytest.mark.torch

X = torch.zeros(1, 3, 16, 16)


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
        self.expand = nn.Sequential(nn.Conv2d(16, 48, 1), nn.BatchNorm2d(48), nn.ReLU6())
        self.depthwise = nn.Sequential(nn.Conv2d(48, 48, 3, padding=1, groups=48), nn.BatchNorm2d(48), nn.ReLU6())
        self.project = nn.Conv2d(48, 16, 1)
        self.head = nn.Linear(16, 5)

    def forward(self, x):
        x = self.stem(x)
        x = x + self.project(self.depthwise(self.expand(x)))
        return self.head(x.mean((2, 3)))


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Residual().eval()


def batches(count=3):
    generator = torch.Generator().manual_seed(1)
    return [
        (torch.randn(4, 3, 16, 16, generator=generator), torch.randint(0, 5, (4,), generator=generator))
        for _ in range(count)
    ]


def test_example_in_the_docstring_runs():
    runner = doctest.DocTestRunner()
    for test in doctest.DocTestFinder().find(pruning.prune, "prune", globs={}):
        runner.run(test)
    assert runner.summarize() == (0, 6)


@pytest.mark.parametrize("importance", sorted(IMPORTANCE))
@pytest.mark.parametrize("round_to", [1, 8])
def test_macs_target_is_met_and_counted_exactly(net, importance, round_to):
    result = prune(net, X, macs=0.6, importance=importance, data=batches(), round_to=round_to)
    assert result.before.macs == counting.macs(net, X)
    assert result.after.macs == counting.macs(result.module, X) <= 0.6 * result.before.macs
    assert result.after.parameters == counting.parameters(result.module) < result.before.parameters
    assert type(result.module) is Residual
    assert result.module(X).shape == (1, 5)
    if round_to == 1:
        assert result.after.macs >= 0.5 * result.before.macs
    else:
        assert {result.module.stem[0].out_channels % 8, result.module.depthwise[0].groups % 8} == {0}


def test_parameters_target(net):
    result = prune(net, X, parameters=0.5)
    assert 0.4 * result.before.parameters <= result.after.parameters <= 0.5 * result.before.parameters


def test_ratios_by_group(net):
    infos = groups(net, X)
    assert [(g.name, g.size, g.layers) for g in infos] == [
        ("stem.0", 16, ("stem.0", "project")),
        ("expand.0", 48, ("expand.0",)),
    ]
    assert all(0 < g.macs_share <= 1 for g in infos)
    result = prune(net, X, ratios={"expand.0": 0.25})
    assert (result.module.depthwise[0].groups, result.module.stem[0].out_channels) == (36, 16)
    assert list(result.groups) == ["expand.0"]
    with pytest.raises(BadInput, match="no such group"):
        prune(net, X, ratios={"nothing": 0.5})


def test_ratios_are_what_they_say_unless_a_limit_is_given(net):
    assert len(prune(net, X, ratios={"expand.0": 0.96}).groups["expand.0"]) == 2
    assert len(prune(net, X, ratios={"expand.0": 0.96}, max_ratio=0.75).groups["expand.0"]) == 12


def test_ignored_layers_and_floors_hold(net):
    result = prune(net, X, macs=0.7, ignore=["^stem"])
    assert result.module.stem[0].out_channels == 16
    with pytest.raises(BadInput, match="can go"):
        prune(net, X, macs=0.1, max_ratio=0.5)


def test_what_stays_is_reported(net):
    assert prune(net, X, macs=0.8).untouched == (("head", "it is an output of the network"),)


def test_architecture_without_weights_takes_the_pruned_state(net):
    result = prune(net, X, macs=0.5)
    again = apply_shape(Residual(), result.shape.to_json()).eval()
    again.load_state_dict(result.module.state_dict())
    x = torch.randn(2, 3, 16, 16)
    assert torch.equal(again(x), result.module(x))
    with pytest.raises(BadInput, match="expected shape"):
        apply_shape(nn.Sequential(nn.Linear(2, 2)), result.shape)
    with pytest.raises(BadInput, match="no pruned shape"):
        apply_shape(net, "{}")


def test_original_and_its_modes_are_as_before(net):
    net.train()
    net.stem[1].eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    result = prune(net, X, macs=0.5, importance="taylor", data=batches())
    assert [p.training for p in result.module.modules()] == [p.training for p in net.modules()]
    assert net.training
    assert not net.stem[1].training
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in before.items())
    assert all(p.grad is None for p in net.parameters())
    loss = result.module(torch.randn(2, 3, 16, 16)).sum()
    loss.backward()
    assert all(p.grad is not None for p in result.module.parameters())


def test_wrong_targets_and_missing_data_are_refused(net):
    with pytest.raises(BadInput, match="either ratios"):
        prune(net, X)
    with pytest.raises(BadInput, match="needs data"):
        prune(net, X, macs=0.5, importance="taylor")
    with pytest.raises(BadInput, match="no such criterion"):
        prune(net, X, macs=0.5, importance="luck")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"macs": 50}, r"macs=50 is outside \(0, 1\]"),
        ({"parameters": 0}, "parameters=0 is outside"),
        ({"macs": 0.5, "round_to": 0}, "round_to=0"),
        ({"macs": 0.5, "max_ratio": 90}, "max_ratio=90"),
        ({"macs": 0.5, "round_to": 2.5}, "round_to=2.5"),
        ({"macs": 0.5, "max_ratio": -0.5}, "max_ratio=-0.5"),
        ({"macs": 0.5, "max_ratio": float("nan")}, "max_ratio=nan"),
        ({"macs": 0.5, "max_ratio": {"steam": 0.5}}, "no such group"),
        ({"macs": 0.5, "cost_aware": float("nan")}, "cost_aware=nan"),
        ({"macs": 0.5, "cost_aware": -5}, "cost_aware=-5"),
        ({"macs": 0.5, "ignore": "("}, "no regular expression"),
        ({"macs": 0.5, "ignore": ["stem", "zz"]}, r"ignore='zz': no layer(?s:.)*stem\.0"),
        ({"ratios": {"stem.0": 0.5}, "ignore": "zz"}, "no layer"),
        ({"macs": 0.5, "scope": "local"}, "no such scope(?s:.)*global, uniform"),
        ({"macs": 0.5, "normalise": "sum"}, "no such normalise"),
        ({"macs": 0.5, "attention": "all"}, "no such attention"),
        ({"macs": 0.5, "compensation": "Mean"}, "no such compensation"),
        ({"macs": 0.5, "importance": lambda scoring: [1.0, 2.0]}, r"scores of shape \(2,\), not \(64,\)"),
        ({"macs": 0.5, "importance": lambda scoring: [float("nan")] * 64}, "scores of stem.0 are not finite"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(net, options, why):
    with pytest.raises(BadInput, match=why):
        prune(net, X, **options)


def test_structure_of_another_module_is_refused(net):
    with pytest.raises(BadInput, match="of another module"):
        prune(net, X, macs=0.5, structure=analyse(Residual(), X))
    with pytest.raises(BadInput, match=r"no such group(?s:.)*stem\.0"):
        analyse(net, X).group("steam")


@pytest.mark.parametrize(
    ("kept", "why"),
    [
        ({"stem.0": [True, False] * 8}, "bool of shape"),
        ({"stem.0": [0.0, 1.0]}, "not a row of whole numbers"),
        ({"stem.0": []}, "one stays at least"),
        ({"stem.0": [3, 16]}, "3 to 16, are not different ones of 0 to 15"),
        ({"stem.0": [-1, 3]}, "-1 to 3"),
        ({"stem.0": [3, 3]}, "not different"),
        ({"steam": [3]}, "no such group"),
    ],
)
def test_units_that_are_none_are_refused(net, kept, why):
    with pytest.raises(BadInput, match=why):
        cut(analyse(net, X), kept)


def test_layers_that_cannot_be_pruned_may_be_ignored(net):
    assert prune(net, X, macs=0.7, ignore="head").module.head.out_features == 5


def test_a_share_that_is_none_is_refused_by_steps_as_well(net):
    with pytest.raises(BadInput, match="outside"):
        stepwise(net, X, data=batches(), macs=-0.5)


def test_one_pattern_may_be_given_without_a_list(net):
    result = prune(net, X, macs=0.7, ignore="^stem")
    assert (result.module.stem[0].out_channels, result.module.expand[0].out_channels < 48) == (16, True)


def test_what_cannot_be_pruned_at_all_says_why():
    module = nn.Sequential(nn.Conv2d(3, 4, 3))
    for scope in ("global", "uniform"):
        with pytest.raises(BadInput, match=r"no channels can be removed \(0: it is an output"):
            prune(module, X, macs=0.5, scope=scope)
    with pytest.raises(BadInput, match="no batch normalisation"):
        ScalePenalty(module, 1e-4)


def test_wrapped_modules_are_refused_with_the_next_step(net):
    with pytest.raises(BadInput, match=r"DataParallel wraps(?s:.)*wrapper\.module"):
        prune(nn.DataParallel(net), X, macs=0.5)
