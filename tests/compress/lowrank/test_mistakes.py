"""Names, examples and data that do not fit the network, and numbers that are none."""

import pytest
import torch
from torch import nn

from edgesmith.compress.lowrank import (
    METHODS,
    ByLatency,
    ByName,
    Energy,
    Fixed,
    MacsTarget,
    Ratio,
    Rounded,
    factorize,
)
from edgesmith.errors import BadInput

from .networks import Mixed, chain

pytestmark = pytest.mark.torch
X = torch.zeros(1, 3, 12, 12)


@pytest.mark.parametrize(
    ("where", "arguments"),
    [
        ("include", {"include": "fc"}),
        ("include", {"include": ("2", "fc")}),
        ("exclude", {"exclude": "fc"}),
        ("exclude", {"exclude": ["2", "fc"]}),
        ("rank", {"rank": ByName({"2": Fixed(4), "fc": Fixed(4)})}),
        ("rank", {"rank": Rounded(ByName({"fc": Fixed(4)}), 4)}),
        ("rank", {"rank": ByName({"*": ByName({"fc": Fixed(4)})})}),
        ("rank", {"rank": ByLatency(lambda module: 1.0, (Energy(0.9), ByName({"fc": Fixed(4)})))}),
    ],
)
def test_patterns_that_fit_no_layer_are_refused_with_the_names_that_there_are(where, arguments):
    with pytest.raises(BadInput, match=rf"{where}: no layer is called 'fc'\n *there is: 0, 2, 4, 6, 10"):
        factorize(chain(), X, **arguments)


def test_patterns_may_fit_layers_that_cannot_be_replaced():
    x = torch.zeros(2, 3, 8, 8)
    found = factorize(Mixed(), x, "svd", ByName({"up": Fixed(2), "h*": Fixed(2)}), include=("h*", "up"), exclude="tied")
    assert [layer.name for layer in found.layers] == ["hidden", "head"]


def test_networks_without_layers_to_replace_need_no_names():
    module = nn.Sequential(nn.ReLU())
    assert factorize(module, X).layers == []
    with pytest.raises(BadInput, match="no layer is called 'fc'"):
        factorize(module, X, exclude="fc")
    assert len(factorize(nn.Linear(16, 16), torch.zeros(1, 16), "svd", Fixed(2)).layers) == 1


def test_rules_by_name_are_rules_of_single_layers():
    for wrong in (8, MacsTarget(share=0.5)):
        with pytest.raises(BadInput, match=r"no rule for one layer(?s:.)*Fixed\(8\)"):
            ByName({"0": wrong})


def test_an_example_that_does_not_fit_is_refused_and_leaves_no_hooks():
    module = chain()
    for example in (torch.zeros(1, 5, 12, 12), (X, X), None):
        with pytest.raises(BadInput, match=r"Sequential: does not run on the example(?s:.)*positional inputs"):
            factorize(module, example)
    assert not any(part._forward_pre_hooks for part in module)


def test_data_that_do_not_fit_are_refused_and_leave_no_hooks():
    module, good = chain(), torch.randn(2, 3, 12, 12)
    with pytest.raises(BadInput, match=r"data: does not run on batch 1, a tensor of shape \(2, 5, .*RuntimeError"):
        factorize(module, X, data=[good, torch.zeros(2, 5, 12, 12)])
    with pytest.raises(BadInput, match=r"data: the data are one tensor(?s:.)*\[tensor\]"):
        factorize(module, X, data=good)
    assert not any(part._forward_hooks for part in module)


@pytest.mark.parametrize("method", sorted(METHODS))
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_must_be_finite_where_they_are_factorised(method, value):
    module = chain()
    name = "10" if method == "svd" else "4"
    with torch.no_grad():
        module.get_submodule(name).weight.view(-1)[3] = value
    with pytest.raises(BadInput, match=rf"layer '{name}': its weight is not finite(?s:.)*exclude='{name}'"):
        factorize(module, X, method, Ratio(0.2))
    assert name in dict(factorize(module, X, method, Ratio(0.2), exclude=name).untouched)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_what_layers_make_of_the_data_must_be_finite(value):
    batch = torch.randn(2, 3, 12, 12)
    batch[1, 0, 5, 5] = value
    with pytest.raises(BadInput, match="data: what layer '0' gets or gives is not finite"):
        factorize(chain(), X, data=[torch.randn(2, 3, 12, 12), batch])
