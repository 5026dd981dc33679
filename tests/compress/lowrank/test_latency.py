"""Layers are replaced where that is faster, by a latency that is a function of the module."""

import pytest
import torch
from torch import nn

from edgesmith.compress.counting import macs
from edgesmith.compress.lowrank import ByLatency, Energy, Fixed, factorize
from edgesmith.errors import BadInput

from .networks import chain

pytestmark = pytest.mark.torch
X = torch.zeros(1, 3, 12, 12)


def milliseconds(module, per_layer=0.05):
    """Time for multiply-adds, and for every layer that is started."""
    layers = sum(isinstance(part, nn.Linear | nn.Conv2d) for part in module.modules())
    return macs(module, X) * 1e-6 + per_layer * layers


def test_only_layers_that_pay_for_their_further_layers_are_replaced():
    module = chain()
    result = factorize(module, X, rank=ByLatency(milliseconds, (Energy(0.95),)))
    names = {layer.name for layer in result.layers}
    assert names == {
        layer.name
        for layer in factorize(module, X, rank=ByLatency(lambda m: macs(m, X), (Energy(0.95),))).layers
        if layer.macs_before - layer.macs_after > 50_000 * (1 if layer.method in ("svd", "channel") else 2)
    }
    assert names
    assert milliseconds(result.module) < milliseconds(module)
    reasons = dict(result.untouched)
    assert "not faster" in reasons["10"]
    assert len(reasons) + len(names) == 5
    assert all(rank % 8 == 0 for layer in result.layers for rank in layer.ranks)


def test_nothing_is_replaced_where_nothing_is_faster():
    result = factorize(chain(), X, rank=ByLatency(lambda module: milliseconds(module, 10.0)))
    assert result.layers == []
    assert all("faster" in reason or "multiply-adds" in reason for _, reason in result.untouched)


def test_replacing_stops_at_the_target():
    module = chain()
    base = milliseconds(module, 0.0)

    def latency(module):
        return milliseconds(module, 0.0)

    every = factorize(module, X, rank=ByLatency(latency, target_ms=0.0))
    some = factorize(module, X, rank=ByLatency(latency, target_ms=0.8 * base))
    assert latency(some.module) <= 0.8 * base < base
    assert sum(x.error**2 for x in some.layers) < sum(x.error**2 for x in every.layers)
    assert latency(every.module) < latency(some.module)


def test_quality_limits_what_is_replaced():
    module = chain()

    def quality(candidate):
        return -sum(isinstance(part, nn.Sequential) for part in candidate)

    rule = ByLatency(lambda m: milliseconds(m, 0.0), evaluate=quality, least=-2)
    result = factorize(module, X, rank=rule)
    names = [layer.name for layer in result.layers]
    assert len(names) == 2
    assert any("quality is -3, less than -2" in reason for _, reason in result.untouched)


def test_a_step_that_does_not_pay_after_the_others_is_taken_back():
    """A processor on which one factorised layer hides the time of any other."""

    def latency(module):
        replaced = sum(isinstance(part, nn.Sequential) for part in module)
        return 10.0 - min(replaced, 1)

    result = factorize(chain(), X, rank=ByLatency(latency, (Fixed(8),)))
    assert len(result.layers) == 1
    assert any("do not pay" in reason for _, reason in result.untouched)


def test_incomplete_arguments_are_refused():
    with pytest.raises(BadInput, match="belong together"):
        ByLatency(milliseconds, least=1.0)
    with pytest.raises(BadInput, match="no rules"):
        ByLatency(milliseconds, ())
