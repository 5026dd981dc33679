"""Networks: which layers are replaced, which are not and why, and the architecture as JSON."""

import copy

import pytest
import torch
from torch import nn

from edgesmith.compress.counting import macs, parameters
from edgesmith.compress.lowrank import (
    METHODS,
    BlockTerm,
    ByName,
    Energy,
    Fixed,
    MacsTarget,
    Ratio,
    Rounded,
    apply_shape,
    factorize,
    factorize_layer,
)
from edgesmith.errors import BadInput, DoesNotFit

from .networks import Mixed, chain

pytestmark = pytest.mark.torch


def test_layers_are_replaced_or_listed_with_a_reason():
    torch.manual_seed(0)
    module, x = Mixed(), torch.randn(2, 3, 8, 8)
    before = copy.deepcopy(module.state_dict())
    result = factorize(module, x, rank=Fixed(4), exclude=("stem.*",))
    ranks = {layer.name: layer.ranks for layer in result.layers}
    assert ranks == {"twice": (4, 4), "pointwise": (4,), "hidden": (4,), "head": (4,)}
    reasons = dict(result.untouched)
    assert reasons == {
        "stem.0": "excluded by 'stem.*'",
        "depthwise": "depthwise convolution (16 groups)",
        "grouped": "grouped convolution (4 groups)",
        "up": "ConvTranspose2d is not supported",
        "functional": "the example does not evaluate it as a module",
        "attention.out_proj": "NonDynamicallyQuantizableLinear is not supported",
        "tied": "it shares a parameter with another layer",
        "other": "it shares a parameter with another layer",
        "hooked": "it has hooks, which its factors would lack",
        "normed": "ParametrizedLinear is not supported",
        "unused": "the example does not evaluate it as a module",
    }
    assert result.module.alias is result.module.hidden
    assert isinstance(result.module.twice, nn.Sequential)
    saved = sum(layer.macs_before - layer.macs_after for layer in result.layers)
    assert macs(module, x) - macs(result.module, x) == saved > 0
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())


def test_factors_that_are_not_smaller_are_refused():
    result = factorize(nn.Sequential(nn.Linear(8, 8)), torch.zeros(1, 8), "svd", Fixed(4))
    assert result.layers == []
    assert result.untouched == [("0", "ranks (4,) need 64 multiply-adds, the layer 64")]


def test_a_module_that_is_a_layer_itself_is_replaced():
    result = factorize(nn.Linear(8, 8), torch.zeros(1, 8), "svd", Fixed(2))
    assert isinstance(result.module, nn.Sequential)
    assert [layer.name for layer in result.layers] == [""]
    assert isinstance(apply_shape(nn.Linear(8, 8), result.to_json()), nn.Sequential)


@pytest.mark.parametrize("method", [*METHODS, BlockTerm(groups=2)])
def test_architecture_is_rebuilt_from_json(method):
    module, x = chain(), torch.randn(1, 3, 12, 12)
    result = factorize(module, x, method, Ratio(0.2))
    assert result.layers
    rebuilt = apply_shape(chain(), result.to_json())
    rebuilt.load_state_dict(result.module.state_dict())
    assert torch.equal(rebuilt(x), result.module(x))
    assert parameters(rebuilt) < parameters(module)


def test_aliases_are_rebuilt():
    torch.manual_seed(0)
    result = factorize(Mixed(), torch.zeros(1, 3, 8, 8), "svd", Fixed(2), include=("hidden",))
    rebuilt = apply_shape(Mixed(), result.to_json())
    assert rebuilt.alias is rebuilt.hidden
    rebuilt.load_state_dict(result.module.state_dict())


@pytest.mark.parametrize("text", ["", "[]", '{"format": "x", "layers": []}', '{"format": "edgesmith.lowrank.1"}'])
def test_what_is_no_shape_is_refused(text):
    with pytest.raises(BadInput, match="no shape"):
        apply_shape(chain(), text)


def test_shape_of_another_module_is_refused():
    text = factorize(chain(), torch.zeros(1, 3, 12, 12), rank=Ratio(0.2)).to_json()
    with pytest.raises(BadInput, match="no such layer"):
        apply_shape(nn.Sequential(nn.Conv2d(3, 8, 3)), text)
    with pytest.raises(BadInput, match="ReLU"):
        apply_shape(nn.Sequential(*(nn.ReLU() for _ in range(12))), text)
    with pytest.raises(BadInput, match="Conv2d layers"):
        apply_shape(nn.Sequential(*(nn.Linear(2, 2) for _ in range(12))), text)


def test_rules_by_name_and_rounded_to_a_multiple():
    rules = ByName({"2": Fixed((5, 6)), "4": Rounded(Fixed(13), 8), "10": Rounded(Energy(0.9), 4)})
    result = factorize(chain(), torch.zeros(1, 3, 12, 12), rank=rules)
    ranks = {layer.name: layer.ranks for layer in result.layers}
    assert ranks["2"] == (5, 6)
    assert ranks["4"] == (16, 16)
    assert ranks["10"][0] % 4 == 0
    assert dict(result.untouched)["0"] == "no rule names it"


@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
@pytest.mark.parametrize("round_to", [1, 4])
def test_macs_target_is_met_and_nearly_used_up(share, round_to):
    module, x = chain(), torch.zeros(1, 3, 12, 12)
    whole = macs(module, x)
    result = factorize(module, x, rank=MacsTarget(share=share, round_to=round_to))
    reached = macs(result.module, x)
    assert reached <= share * whole
    largest = max(layer.macs_before for layer in result.layers)
    assert reached >= share * whole - largest / 2
    assert all(rank % round_to == 0 or rank == 3 for layer in result.layers for rank in layer.ranks)


def test_a_larger_target_loses_no_more_energy():
    module, x = chain(), torch.zeros(1, 3, 12, 12)
    errors = []
    for share in (0.3, 0.6, 0.9):
        result = factorize(module, x, rank=MacsTarget(share=share))
        errors.append(max(layer.error for layer in result.layers))
    assert errors == sorted(errors, reverse=True)


def test_macs_target_out_of_reach_is_refused():
    with pytest.raises(DoesNotFit, match="least ranks"):
        factorize(chain(), torch.zeros(1, 3, 12, 12), "svd", MacsTarget(macs=10))


def test_what_makes_no_sense_is_refused():
    x = torch.zeros(1, 3, 12, 12)
    with pytest.raises(BadInput, match="no low-rank method 'svdd'"):
        factorize(chain(), x, "svdd")
    with pytest.raises(BadInput, match="no method"):
        factorize(chain(), x, ())
    with pytest.raises(BadInput, match="2 ranks"):
        factorize(chain(), x, "svd", Fixed((1, 2)))
    with pytest.raises(BadInput, match="Conv2d layers"):
        factorize_layer(nn.Linear(2, 2), "tucker2", (1, 1))
    with pytest.raises(BadInput, match="hold no batch"):
        factorize(chain(), x, data=[])
    for wrong in (lambda: Energy(0), lambda: Ratio(2), lambda: Fixed(0), lambda: MacsTarget(), lambda: BlockTerm(0)):
        with pytest.raises(BadInput):
            wrong()
