"""Around pruning: repairs without training, sensitivity, terms for the loss, the gradual schedule."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from edgesmith.compress import counting
from edgesmith.compress.prune import (
    Curves,
    GradualState,
    GroupLasso,
    ScalePenalty,
    analyse,
    compensate,
    cut,
    gradual,
    prune,
    recalibrate,
    rescale,
    sensitivity,
)
from edgesmith.compress.prune.gradual import cubic
from edgesmith.errors import BadInput

from .exactness import randomise

pytestmark = pytest.mark.torch

X = torch.zeros(1, 3, 8, 8)


def network(bias=True):
    torch.manual_seed(0)
    return randomise(
        nn.Sequential(
            nn.Conv2d(3, 12, 3, padding=1),
            nn.BatchNorm2d(12),
            nn.ReLU(),
            nn.Conv2d(12, 10, 3, bias=bias),
            *([] if bias else [nn.BatchNorm2d(10)]),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(10, 4),
        )
    )


def images(count=4):
    generator = torch.Generator().manual_seed(2)
    return [torch.randn(16, 3, 8, 8, generator=generator) for _ in range(count)]


@pytest.mark.parametrize("bias", [True, False])
def test_constant_channels_go_without_a_trace(bias):
    net = network(bias)
    with torch.no_grad():
        net[1].weight[:6] = 0
        net[1].bias[:6] = torch.rand(6) + 0.5  # channels that are the same everywhere
    net[3].padding = (0, 0)
    structure = analyse(net, X)
    kept = {"0": np.arange(6, 12)}
    pruned, _ = cut(structure, kept)
    x = images()[0]
    assert (pruned(x) - net(x)).abs().max() > 1e-2
    compensate(structure, kept, pruned, images())
    torch.testing.assert_close(pruned(x), net(x), rtol=1e-4, atol=1e-4)


def test_rescaling_makes_up_for_a_channel_that_another_one_equals():
    net = network()
    with torch.no_grad():
        net[0].weight[1], net[0].bias[1] = net[0].weight[0], net[0].bias[0]
        net[1].weight[1], net[1].bias[1] = net[1].weight[0], net[1].bias[0]
        net[1].running_mean[1], net[1].running_var[1] = net[1].running_mean[0], net[1].running_var[0]
        net[3].weight[:, 1] = net[3].weight[:, 0]
    structure = analyse(net, X)
    kept = {"0": np.delete(np.arange(12), 1)}
    pruned, _ = cut(structure, kept)
    x = images()[0]
    error = (pruned(x) - net(x)).norm()
    rescale(structure, kept, pruned, images(20))
    assert (pruned(x) - net(x)).norm() < 0.15 * error


def test_what_rescaling_made_up_for_is_not_added_again():
    net, data = network(), images(8)
    with torch.no_grad():
        for part in (net[0], net[1]):
            part.weight[1], part.bias[1] = part.weight[0], part.bias[0]
        net[1].bias[:2] = 1.0
        net[1].running_mean[1], net[1].running_var[1] = net[1].running_mean[0], net[1].running_var[0]
        net[3].weight[:, 1] = net[3].weight[:, 0]
    scores = np.arange(22.0) != 1
    found = prune(net, X, ratios={"0": 1 / 12}, importance=lambda _: scores, data=data, compensation="rescale")
    assert list(found.groups["0"]) == [0, *range(2, 12)]
    read = torch.cat([net[:4](x) for x in data])
    assert (found.module[:4](torch.cat(data)) - read).norm() < 0.05 * read.norm()
    equal = torch.cat([found.module[:4](x) for x in data]).mean((0, 2, 3))
    torch.testing.assert_close(equal, read.mean((0, 2, 3)), rtol=1e-3, atol=1e-3)


def test_rescaling_beside_the_mean_is_better_than_the_mean_alone():
    errors, data = {"mean": 0.0, "rescale": 0.0}, images(8)
    x = torch.cat(data)
    for seed in range(6):
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 10, 3, padding=1), nn.Flatten())
        for kind in errors:
            own = {"importance": "l2", "data": data, "compensation": kind}
            errors[kind] += float((prune(net, X, ratios={"0": 0.5}, **own).module(x) - net(x)).detach().norm())
    assert errors["rescale"] < errors["mean"]


def test_compensation_within_prune_lowers_the_error():
    net, data = network(), images()
    x = images()[0]
    errors = {
        kind: float((prune(net, X, macs=0.6, importance="l2", data=data, compensation=kind).module(x) - net(x)).norm())
        for kind in ("none", "mean", "rescale")
    }
    assert errors["mean"] < errors["none"]
    assert errors["rescale"] < errors["none"]
    with pytest.raises(BadInput, match="needs data"):
        prune(net, X, macs=0.6, compensation="mean")


def test_recalibration_gives_the_statistics_of_the_data():
    net, data = network(), images()
    net.train()
    net[0].weight.data *= 3
    recalibrate(net, data)
    values = torch.stack([net[0](x) for x in data]).detach()
    torch.testing.assert_close(net[1].running_mean, values.mean((0, 1, 3, 4)), rtol=1e-4, atol=1e-4)
    assert net[1].momentum == 0.1
    assert net.training


def quality(module):
    return 100.0 * counting.parameters(module) / counting.parameters(network())


def test_sensitivity_goes_on_where_it_was(tmp_path):
    path, lines, calls = tmp_path / "curves.json", [], []

    def evaluate(module):
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(module)
        return quality(module)

    with pytest.raises(KeyboardInterrupt):
        sensitivity(network(), X, evaluate, ratios=(0.25, 0.5), path=path)
    calls.clear()
    curves = sensitivity(network(), X, quality, ratios=(0.25, 0.5), path=path, progress=lines.append)
    assert len(lines) == 2
    assert {group: sorted(curve) for group, curve in curves.curves.items()} == {"0": [0.25, 0.5], "3": [0.25, 0.5]}
    assert curves.baseline == 100
    assert Curves.from_json(path.read_text()) == curves


def test_a_quality_that_is_no_number_has_fallen():
    assert Curves(90.0, {"a": {0.25: 90.0, 0.5: float("nan"), 0.75: 90.0}}).ratios(2.0) == {"a": 0.25}
    with pytest.raises(BadInput, match="is nan"):
        sensitivity(network(), X, lambda module: float("nan"))


def test_a_file_of_other_curves_is_refused(tmp_path):
    path = tmp_path / "curves.json"
    own = {"ratios": (0.5,), "path": path, "loss": lambda module, batch: module(batch).sum()}
    sensitivity(network(), X, quality, **own)
    other = network()
    with torch.no_grad():
        other[0].weight[0, 0, 0, 0] += 1
    for module, options in ((other, {}), (network(), {"importance": "random"}), (network(bias=False), {})):
        with pytest.raises(BadInput, match="another module or other options"):
            sensitivity(module, X, quality, **own, **options)
    sensitivity(network(), X, lambda _: pytest.fail("evaluated again"), **own)
    path.write_text("[]")
    with pytest.raises(BadInput, match="no curves"):
        sensitivity(network(), X, quality, **own)


def test_ratios_from_curves():
    curves = Curves(90.0, {"a": {0.25: 90.0, 0.5: 86.0, 0.75: 60.0}, "b": {0.25: 70.0}, "c": {0.5: 91.0}})
    assert curves.ratios(2.0) == pytest.approx({"a": 0.375, "b": 0.025, "c": 0.5})


def test_penalties_are_what_they_are_by_definition():
    net = network()
    scales = ScalePenalty(net, 0.5)
    assert float(scales()) == pytest.approx(0.5 * float(net[1].weight.abs().sum()), rel=1e-6)
    scales().backward()
    assert torch.equal(net[1].weight.grad, 0.5 * net[1].weight.sign())
    lasso = GroupLasso(net, X, 2.0)
    total = 0.0
    for i in range(12):
        parts = [net[0].weight[i], net[0].bias[i], net[1].weight[i], net[1].bias[i], net[3].weight[:, i]]
        flat = torch.cat([p.detach().reshape(-1) for p in parts])
        total += 2.0 * len(flat) ** 0.5 * float(flat.norm())
    for i in range(10):
        flat = torch.cat([p.detach().reshape(-1) for p in (net[3].weight[i], net[3].bias[i], net[8 - 1].weight[:, i])])
        total += 2.0 * len(flat) ** 0.5 * float(flat.norm())
    assert float(lasso()) == pytest.approx(total, rel=1e-4)


def test_group_lasso_drives_unused_channels_to_zero():
    net = network()
    lasso = GroupLasso(net, X, 1e-2)
    optimizer = torch.optim.SGD(net.parameters(), 0.05)
    before = net[0].weight.norm()
    for _ in range(60):
        optimizer.zero_grad()
        lasso().backward()
        optimizer.step()
    assert net[0].weight.norm() < 0.8 * before


def test_no_group_loses_more_than_it_may_in_all_when_pruned_gradually():
    saved = []

    def on_step(state, module):
        saved.append((state.to_json(), copy.deepcopy(module)))

    limits = {"macs": 0.6, "steps": 4, "max_ratio": {"0": 0.25, "3": 0.5}, "importance": "l2"}
    module, _ = gradual(network(), X, lambda module: None, on_step=on_step, **limits)
    assert module[0].out_channels >= 9 and module[3].out_channels >= 5
    resumed, _ = gradual(saved[1][1], X, lambda module: None, state=GradualState.from_json(saved[1][0]), **limits)
    assert [resumed[i].out_channels for i in (0, 3)] == [module[i].out_channels for i in (0, 3)]
    assert gradual(network(), X, lambda module: None, macs=0.7, ignore="^0")[0][0].out_channels == 12
    with pytest.raises(BadInput, match="can go"):
        gradual(network(), X, lambda module: pytest.fail("trained"), macs=0.2, max_ratio=0.3)
    with pytest.raises(BadInput, match="parameters is no option"):
        gradual(network(), X, lambda module: None, macs=0.5, parameters=0.5)
    with pytest.raises(BadInput, match="no state"):
        GradualState.from_json("{}")


def test_gradual_pruning_follows_the_cubic_schedule_and_goes_on():
    assert [round(cubic(s, 4, 0.5), 4) for s in range(5)] == [0, 0.2891, 0.4375, 0.4922, 0.5]
    net, seen, saved = network(), [], []
    total = counting.macs(net, X)

    def finetune(module):
        seen.append(counting.macs(module, X) / total)

    def on_step(state, module):
        saved.append((state.to_json(), copy.deepcopy(module.state_dict())))

    module, state = gradual(net, X, finetune, macs=0.5, steps=4, on_step=on_step)
    assert len(seen) == 4
    for part, step in zip(seen, range(1, 5), strict=True):
        assert 1 - cubic(step, 4, 0.5) - 0.1 <= part <= 1 - cubic(step, 4, 0.5)
    again = GradualState.from_json(saved[1][0])
    half = again.restore(network())
    half.load_state_dict(saved[1][1])
    resumed, last = gradual(half.eval(), X, finetune, macs=0.5, steps=4, state=again)
    assert last == state
    x = images()[0]
    assert torch.equal(resumed(x), module(x))
    fresh = last.restore(network())
    fresh.load_state_dict(resumed.state_dict())
    assert torch.equal(fresh.eval()(x), module(x))
