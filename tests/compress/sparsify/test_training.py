"""Masks stay through training, and come off as zeros."""

import copy

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from edgesmith.compress.sparsify import NM, PATTERNS, Blocks, Cubic, Sparsifier
from edgesmith.compress.state import load_state, save_state
from edgesmith.errors import BadInput
from edgesmith.frontend.torch import export

from .networks import LAYERS, momentum, network, train

pytestmark = pytest.mark.torch


def zeros(module):
    return {name: module.get_submodule(name).weight.detach() == 0 for name in LAYERS}


@pytest.mark.parametrize("pattern", ["unstructured", "n_m", "blocks"])
@pytest.mark.parametrize("optimizer_first", [False, True])
def test_masks_survive_momentum_and_weight_decay(pattern, optimizer_first):
    module = network()
    # Momentum from before the masks would move weights that are cut.
    optimizer = momentum(module)
    if optimizer_first:
        train(module, optimizer, 3)
    sparsifier = Sparsifier(module, pattern, density=None if pattern == "n_m" else 0.25)
    if not optimizer_first:
        optimizer = momentum(module)
    before = zeros(module)
    weights = {name: module.get_submodule(name).weight.detach().clone() for name in LAYERS}
    losses = train(module, optimizer, 20)
    sparsifier.finish()
    after = zeros(module)
    assert all(torch.equal(before[name], after[name]) for name in LAYERS)
    assert losses[-1] < losses[0]
    assert not any(torch.equal(weights[name], module.get_submodule(name).weight) for name in LAYERS)
    train(module, optimizer, 1)
    assert not torch.equal(zeros(module)["0"], before["0"])


def test_density_is_exact_in_each_layer_and_across_layers():
    for across in (False, True):
        module = network()
        with torch.no_grad():
            module[8].weight.mul_(3)
        sparsifier = Sparsifier(module, density=0.3, across_layers=across)
        total = sum(module.get_submodule(name).weight.numel() for name in LAYERS)
        assert sparsifier.density == pytest.approx(0.3, abs=1.5 / total * (1 if across else 3))
        assert all(abs(d - 0.3) < 0.01 for d in sparsifier.densities.values()) != across
        assert sparsifier.densities["8"] > 0.5 or not across


@pytest.mark.parametrize("pattern", ["unstructured", "blocks"])
def test_a_layer_of_small_weights_keeps_one_unit_among_all_layers(pattern):
    module = network()
    with torch.no_grad():
        module[4].weight.mul_(1e-3)
    sparsifier = Sparsifier(module, pattern, density=0.2, across_layers=True)
    weight = module[4].weight
    unit = 16 if pattern == "blocks" else 1
    assert 1 <= weight.count_nonzero() <= unit
    if pattern == "unstructured":
        assert weight.abs().max() == module[4].parametrizations.weight.original.abs().max()
        assert sparsifier.density == pytest.approx(0.2, abs=0.001)


def test_layers_that_stay_dense_are_listed_with_a_reason():
    module = network()
    module.append(nn.Linear(20, 3, bias=False))
    module.append(nn.Linear(20, 3, bias=False))
    module[10].weight = module[9].weight
    sparsifier = Sparsifier(module, "blocks", density=0.5, exclude=("8",))
    assert sparsifier.layers == ("0", "4")
    assert dict(sparsifier.untouched) == {
        "3": "depthwise convolution",
        "8": "excluded by '8'",
        "9": "it shares its weight with another layer",
        "10": "it shares its weight with another layer",
    }


def test_schedule_falls_cubically_and_reaches_the_final_density():
    module = network()
    sparsifier = Sparsifier(module, density=0.1, schedule=Cubic(begin=2, end=12, every=4))
    optimizer, seen = momentum(module), [1.0]
    assert sparsifier.density == 1
    for _ in range(14):
        if sparsifier.steps < 12:
            with pytest.raises(BadInput, match="final"):
                sparsifier.finish()
        train(module, optimizer, 1, sparsifier)
        seen.append(sparsifier.density)
    assert seen == sorted(seen, reverse=True)
    for step in (6, 10, 12):
        assert seen[step] == pytest.approx(0.1 + 0.9 * ((12 - step) / 10) ** 3, abs=1e-3)
    assert seen[:6] == [1.0] * 6
    assert seen[6:10] == [seen[6]] * 4
    sparsifier.finish()
    assert sparsifier.density == seen[-1] == pytest.approx(0.1, abs=1e-3)


def test_what_was_cut_stays_cut_while_the_density_falls():
    module = network()
    sparsifier = Sparsifier(module, density=0.2, schedule=Cubic(0, 6, every=1))
    optimizer = torch.optim.SGD(module.parameters(), lr=1e-4, weight_decay=1e-2)
    earlier = zeros(module)
    for _ in range(6):
        train(module, optimizer, 1, sparsifier)
        now = zeros(module)
        shares = [float((now[name] | ~earlier[name]).double().mean()) for name in LAYERS]
        assert min(shares) > 0.99
        earlier = now


@pytest.mark.parametrize("straight_through", [None, 2e-4])
@pytest.mark.parametrize("pattern", ["unstructured", NM(1, 4), Blocks((4, 1))])
def test_training_resumed_from_state_dicts_is_the_same(pattern, straight_through):
    def start():
        module = network()
        density = None if isinstance(pattern, NM) else 0.2
        schedule = Cubic(1, 7, every=2)
        sparsifier = Sparsifier(module, pattern, density=density, schedule=schedule, straight_through=straight_through)
        return module, sparsifier, momentum(module)

    module, sparsifier, optimizer = start()
    train(module, optimizer, 4, sparsifier)
    saved = copy.deepcopy((module.state_dict(), sparsifier.state_dict(), optimizer.state_dict()))
    losses = train(module, optimizer, 5, sparsifier)
    resumed = start()
    with torch.no_grad():
        for parameter in resumed[0].parameters():
            parameter.zero_()
    for part, state in zip(resumed, saved, strict=True):
        part.load_state_dict(state)
    again, again_sparsifier, again_optimizer = resumed
    assert train(again, again_optimizer, 5, again_sparsifier) == losses
    for each in (sparsifier, again_sparsifier):
        each.finish()
    for name, value in module.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)


def test_finish_leaves_the_plain_layers_and_parameters():
    module = network()
    keys, parameters = list(module.state_dict()), [id(p) for p in module.parameters()]
    sparsifier = Sparsifier(module, "blocks", density=0.5)
    with torch.no_grad():
        sparse = module.eval()(torch.ones(1, 8, 6, 6))
    sparsifier.finish()
    assert sorted(module.state_dict()) == sorted(keys)
    assert sorted(id(p) for p in module.parameters()) == sorted(parameters)
    assert [type(part) for part in module] == [type(part) for part in network()]
    with torch.no_grad():
        assert torch.equal(module(torch.ones(1, 8, 6, 6)), sparse)
    with pytest.raises(BadInput, match="off already"):
        sparsifier.finish()


def test_straight_through_gradients_reach_and_shrink_what_is_cut():
    layer = nn.Linear(8, 4, bias=False)
    Sparsifier(layer, NM(2, 4), straight_through=0.1)
    original = layer.parametrizations.weight.original
    x = torch.randn(5, 8)
    (layer(x) ** 2).sum().backward()
    masked = layer.weight.detach().clone().requires_grad_()
    (nn.functional.linear(x, masked) ** 2).sum().backward()
    cut = layer.weight == 0
    assert int(cut.sum()) == 16
    torch.testing.assert_close(original.grad, masked.grad + 0.1 * original.detach() * cut)


def test_straight_through_lets_weights_come_back():
    """A small weight on the only input that matters grows until it replaces a larger one."""
    torch.manual_seed(0)
    layer = nn.Linear(4, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.5, 0.4, 0.3, 0.05]]))
    x = torch.randn(64, 4)
    for straight_through, kept in ((None, [True, True, False, False]), (2e-4, [False, False, False, True])):
        module = copy.deepcopy(layer)
        sparsifier = Sparsifier(module, NM(2, 4), straight_through=straight_through)
        optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
        for _ in range(300):
            optimizer.zero_grad()
            ((module(x)[:, 0] - 2 * x[:, 3]) ** 2).mean().backward()
            optimizer.step()
        sparsifier.finish()
        assert int(module.weight.count_nonzero()) == 2
        found = (module.weight[0] != 0).tolist()
        assert found == kept if straight_through is None else found[3]


@pytest.mark.parametrize("pattern", [NM(2, 4), Blocks((16, 1)), "unstructured"])
def test_exported_weights_have_the_zeros_without_a_sign(pattern, tmp_path):
    module = network()
    sparsifier = Sparsifier(module, pattern, density=None if isinstance(pattern, NM) else 0.25)
    train(module, momentum(module), 2)
    sparsifier.finish()
    export(module, torch.zeros(1, 8, 6, 6), tmp_path / "network.onnx")
    arrays = [numpy_helper.to_array(a) for a in onnx.load(tmp_path / "network.onnx").graph.initializer]
    for name in ("4", "8"):
        weight = module.get_submodule(name).weight.detach().numpy()
        found = [a for a in arrays if a.shape in (weight.shape, weight.T.shape) and a.ndim > 1]
        assert any((a == 0).sum() == (weight == 0).sum() and not np.signbit(a[a == 0]).any() for a in found)


def test_what_makes_no_sense_is_refused():
    for arguments in (
        {"pattern": "blockss", "density": 0.5},
        {"density": None},
        {"density": 0.0},
        {"density": 1.5},
        {"pattern": "n_m", "density": 0.5},
        {"pattern": "n_m", "across_layers": True},
        {"density": 0.5, "straight_through": 1e-4, "across_layers": True},
        {"density": 0.5, "include": ("none",)},
        {"density": 0.5, "include": ("*", "none")},
        {"density": 0.5, "exclude": "none"},
    ):
        with pytest.raises(BadInput):
            Sparsifier(network(), **arguments)
    for wrong in ((5, 5, 1), (0, 5, 0), (-1, 5, 1)):
        with pytest.raises(BadInput):
            Cubic(*wrong)
    assert set(PATTERNS) == {"unstructured", "n_m", "blocks"}


def test_one_pattern_may_be_given_without_a_list():
    module = torch.nn.Sequential(*(torch.nn.Linear(4, 4) for _ in range(12)))
    assert Sparsifier(module, density=0.5, include="1*", exclude="11").layers == ("1", "10")


def test_masks_are_part_of_a_saved_state(tmp_path):
    one, other = network(), network()
    Sparsifier(one, density=0.25, straight_through=1e-4)
    sparsifier = Sparsifier(other, density=0.5, straight_through=1e-4)
    save_state(one, tmp_path / "state.pt")
    load_state(other, tmp_path / "state.pt")
    assert sparsifier.density == pytest.approx(0.25, abs=0.01)
