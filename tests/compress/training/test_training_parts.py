"""Averaged weights, schedules, parameter groups, seeds."""

import random

import numpy as np
import pytest
import torch
from torch import nn

from edgesmith.compress.training import Ema, Settings
from edgesmith.compress.training.optimisers import build_optimiser, parameter_groups
from edgesmith.compress.training.schedules import constant, cosine, one_cycle
from edgesmith.compress.training.seeds import random_state, restore_random_state, seed_everything

pytestmark = pytest.mark.torch


def test_averages_follow_the_formula():
    module = nn.BatchNorm1d(2)
    ema = Ema(module, 0.9)
    expected = module.weight.detach().clone()
    for n in range(20):
        with torch.no_grad():
            module.weight.fill_(float(n))
        module.num_batches_tracked.fill_(n)
        ema.update(module)
        decay = min(0.9, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * n
    with ema.swapped(module):
        assert torch.allclose(module.weight, expected) and int(module.num_batches_tracked) == 19
    assert module.weight.tolist() == [19, 19]
    ema.copy_to(module)
    assert torch.allclose(module.weight, expected)


def test_schedules_rise_and_fall():
    for schedule, start, end in ((one_cycle(0.3), 1 / 25, 1 / 250_000), (cosine(0.1), 0, 0), (constant(), 1, 1)):
        assert schedule(0.0) == pytest.approx(start) and schedule(1.0) == pytest.approx(end)
    assert one_cycle(0.3)(0.3) == pytest.approx(1) and cosine(0.1)(0.1) == pytest.approx(1)
    assert cosine(0.1)(0.05) == pytest.approx(0.5) and cosine(0.0)(0.5) == pytest.approx(0.5)
    falling = [one_cycle(0.3)(x / 100) for x in range(30, 101)]
    assert falling == sorted(falling, reverse=True)


def test_weight_decay_is_for_weights_alone():
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(2, 2))
    module[2].weight.requires_grad_(False)
    decayed, plain = parameter_groups([module, module], 0.1)
    assert decayed["weight_decay"] == 0.1 and [p.shape for p in decayed["params"]] == [(2, 1, 3, 3)]
    assert plain["weight_decay"] == 0 and len(plain["params"]) == 4
    assert isinstance(build_optimiser([module], Settings(optimiser="adamw")), torch.optim.AdamW)


def test_generators_go_back_to_where_they_were(tmp_path):
    def drawn():
        return random.random(), random.gauss(0, 1), float(np.random.rand()), float(np.random.randn()), torch.rand(2)

    seed_everything(5)
    first = drawn()
    torch.save(random_state(), tmp_path / "state")
    second = drawn()
    seed_everything(5)
    assert drawn()[:4] == first[:4]
    restore_random_state(torch.load(tmp_path / "state", weights_only=True))
    again = drawn()
    assert again[:4] == second[:4] and torch.equal(again[4], second[4])
