"""Several cuts are one cut relative to the original, meet its target and forget nothing."""

import copy
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from edgesmith.compress.prune import (
    analyse,
    apply_shape,
    compensate,
    cut,
    cuts,
    prune,
    recalibrate,
    rescale,
    stepwise,
)
from edgesmith.errors import BadInput

pytestmark = pytest.mark.torch


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 24, 3, padding=1, bias=False), nn.BatchNorm2d(24), nn.ReLU()]
    layers += [nn.Conv2d(24, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 5)).eval()


@pytest.fixture
def data() -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [(torch.randn(8, 3, 8, 8, generator=generator), torch.arange(8) % 5) for _ in range(4)]


@pytest.mark.parametrize("round_to", [1, 8, 16])
def test_target_is_met_and_record_rebuilds_the_module(network, data, round_to):
    state = copy.deepcopy(network.state_dict())
    found = stepwise(network, data[0][0][:1], data=data, macs=0.4, steps=4, round_to=round_to, importance="taylor")
    assert found.after.macs <= 0.4 * found.before.macs
    assert all(len(units) % round_to == 0 or len(units) == 24 for units in found.groups.values())
    assert all(torch.equal(state[k], v) for k, v in network.state_dict().items()), "the original was changed"
    again = apply_shape(network, found.shape)
    again.load_state_dict(found.module.state_dict())
    x = data[1][0]
    assert torch.equal(again.eval()(x), found.module.eval()(x))


def test_groups_name_units_of_the_original(network, data):
    found = stepwise(network, data[0][0][:1], data=data, macs=0.4, steps=3, importance="l2")
    units = found.groups["0"]
    assert len(units) == found.module[0].out_channels
    assert torch.equal(network[0].weight[np.asarray(units)], found.module[0].weight)


def test_one_step_chooses_what_prune_chooses(network, data):
    one = stepwise(network, data[0][0][:1], data=data, macs=0.5, steps=1, importance="taylor")
    plain = prune(network, data[0][0][:1], data=data, macs=0.5, importance="taylor")
    assert {k: list(v) for k, v in one.groups.items()} == {k: list(v) for k, v in plain.groups.items()}


def test_no_group_loses_more_than_it_may_in_all(network, data):
    found = stepwise(network, data[0][0][:1], data=iter(data), macs=0.6, steps=4, max_ratio=0.5, importance="l2")
    assert found.after.macs <= 0.6 * found.before.macs
    assert all(len(found.groups[name]) >= size / 2 for name, size in (("0", 24), ("3", 32)))


def test_ratios_are_reached_in_steps(network, data):
    found = stepwise(network, data[0][0][:1], data=data, ratios={"0": 0.5, "3": 0.75}, steps=3, round_to=4)
    assert {name: len(units) for name, units in found.groups.items()} == {"0": 12, "3": 8}
    sizes = [len(found.groups["3"]) for found in cuts(network, data[0][0][:1], data=data, ratios={"3": 0.75}, steps=3)]
    assert sizes[0] > sizes[1] > sizes[2] == 8
    with pytest.raises(BadInput, match="no such group"):
        stepwise(network, data[0][0][:1], data=data, ratios={"9": 0.5})
    with pytest.raises(BadInput, match="outside"):
        stepwise(network, data[0][0][:1], data=data, ratios={"0": -0.5})


@pytest.mark.parametrize(("round_to", "ratio", "left"), [(8, 0.3, 16), (8, 0.6, 8), (16, 0.5, 16), (5, 0.5, 10)])
def test_ratios_end_with_multiples_as_in_one_cut(network, data, round_to, ratio, left):
    own = {"ratios": {"0": ratio}, "round_to": round_to, "importance": "l2"}
    for steps in (1, 3, 8):
        found = stepwise(network, data[0][0][:1], data=data, steps=steps, **own)
        assert found.module[0].out_channels == left == len(found.groups["0"])
    assert prune(network, data[0][0][:1], **own).module[0].out_channels == left


def test_a_group_may_come_down_to_one_unit_before_the_last_cut(network, data):
    network[0], network[1], network[3] = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 32, 3)
    found = stepwise(network.eval(), data[0][0][:1], data=data, ratios={"0": 0.8, "3": 0.0}, steps=8)
    assert {name: len(units) for name, units in found.groups.items()} == {"0": 1, "3": 32}


def test_no_ratio_takes_nothing(network, data):
    found = stepwise(network, data[0][0][:1], data=data, ratios={}, steps=2)
    assert found.after == found.before


def test_limits_of_groups_by_name_hold_in_all(network, data):
    own = {"macs": 0.8, "steps": 4, "importance": "l2", "max_ratio": {"3": 0.5}}
    found = stepwise(network, data[0][0][:1], data=data, **own)
    assert found.module[0].out_channels == 24 and 16 <= found.module[3].out_channels < 32
    own |= {"macs": 0.6, "max_ratio": 0.9, "ignore": "^0$"}
    assert stepwise(network, data[0][0][:1], data=data, **own).module[0].out_channels == 24


def test_a_target_out_of_reach_is_told_as_by_one_cut_and_before_any(network, data):
    told = []
    for act in (prune, stepwise):
        with pytest.raises(BadInput, match="can go") as error:
            act(network, data[0][0][:1], data=data, macs=0.1, max_ratio=0.3, importance=lambda _: pytest.fail("scored"))
        told.append(str(error.value))
    assert told[0] == told[1]


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (torch.zeros(4, 3, 8, 8), r"one tensor(?s:.)*\[tensor\]"),
        (
            [torch.zeros(4, 3, 8, 8), torch.zeros(4, 2, 8, 8)],
            r"does not run on batch 1, a tensor of shape \(4, 2, 8, 8\): ",
        ),
        ([], "no batch"),
    ],
)
def test_data_that_do_not_fit_are_told(network, data, wrong, why):
    example = data[0][0][:1]
    structure = analyse(network, example)
    pruned, _ = cut(structure, kept := {"0": np.arange(12)})
    for act in (
        lambda: recalibrate(network, wrong),
        lambda: compensate(structure, kept, pruned, wrong),
        lambda: rescale(structure, kept, pruned, wrong),
        lambda: stepwise(network, example, data=wrong, macs=0.5, importance="l2"),
        *(partial(prune, network, example, data=wrong, macs=0.5, importance=i) for i in ("response", "thinet")),
    ):
        with pytest.raises(BadInput, match=why):
            act()
    with pytest.raises(BadInput, match=r"does not run on batch 0, a tuple of a tensor of shape \(8, 3, 8, 8\), .*: "):
        prune(network, example, data=[(data[0][0], torch.arange(5))], macs=0.5)


def test_statistics_are_not_lost_to_empty_data(network, data):
    used = iter(data)
    recalibrate(network, used)
    before = copy.deepcopy(network.state_dict())
    with pytest.raises(BadInput, match="no batch"):
        recalibrate(network, used)
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())
    for act in (stepwise, prune):
        with pytest.raises(BadInput, match="no batch"):
            act(network, data[0][0][:1], data=[], macs=0.5, importance="taylor")
    with pytest.raises(BadInput, match="no batch"):
        prune(network, data[0][0][:1], data=[], macs=0.5, importance="l2", compensation="mean")


def test_no_target_is_an_error(network, data):
    with pytest.raises(BadInput, match="no target"):
        stepwise(network, data[0][0][:1], data=data)
