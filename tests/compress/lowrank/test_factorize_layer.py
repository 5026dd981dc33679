"""Factors of one layer by itself: which layers there are none of, and which ranks."""

import numpy as np
import pytest
import torch
from torch import nn

from edgesmith.compress.lowrank import BlockTerm, Fixed, factorize, factorize_layer
from edgesmith.errors import BadInput

pytestmark = pytest.mark.torch


class Doubled(nn.Conv2d):
    def forward(self, x):
        return 2 * super().forward(x)


def replaced_forward():
    layer = nn.Linear(4, 4)
    layer.forward = torch.relu
    return layer


def hooked():
    layer = nn.Linear(4, 4)
    layer.register_forward_hook(lambda layer, inputs, output: -output)
    return layer


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (nn.Conv2d(6, 6, 3, groups=6), r"depthwise convolution \(6 groups\)"),
        (nn.Conv2d(6, 8, 3, groups=2), r"grouped convolution \(2 groups\)"),
        (Doubled(6, 8, 3), "Doubled is not supported"),
        (nn.Conv1d(6, 8, 3), "Conv1d is not supported"),
        (nn.ConvTranspose2d(6, 8, 3), "ConvTranspose2d is not supported"),
        (nn.LSTM(3, 4), "LSTM is not supported"),
        (nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)), "ParametrizedLinear is not supported"),
        (replaced_forward(), "its forward was replaced"),
        (hooked(), "it has hooks"),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("method", ["spatial", "channel", "tucker2", "cp", "svd"])
def test_layers_that_compute_something_else_are_refused(layer, reason, method):
    with pytest.raises(BadInput, match=reason):
        factorize_layer(layer, method, 2)


def test_a_network_leaves_a_layer_with_another_forward_alone():
    module = nn.Sequential(nn.Linear(4, 4), replaced_forward())
    found = factorize(module, torch.zeros(2, 4), "svd", Fixed(1))
    assert found.untouched == [("1", "its forward was replaced")]


@pytest.mark.parametrize("ranks", [0, -2, (3, 0), (-1, 3), (), 2.5, (2.0, 2), "22", None])
def test_ranks_are_whole_numbers_from_1_on(ranks):
    with pytest.raises(BadInput, match=r"rank .* is (below 1|no whole number)"):
        factorize_layer(nn.Conv2d(6, 8, 3), "tucker2", ranks)
    with pytest.raises(BadInput, match=r"rank .* is (below 1|no whole number)"):
        Fixed(ranks)


def test_one_rank_stands_for_each():
    layer = nn.Conv2d(6, 8, 3)
    for ranks in (3, (3, 3), [3, 3], np.int64(3), np.array([3, 3]).tolist()):
        chain = factorize_layer(layer, "tucker2", ranks)
        assert [part.out_channels for part in chain] == [3, 3, 8]
    assert [part.out_channels for part in factorize_layer(layer, BlockTerm(groups=2), 4)] == [4, 4, 8]
    assert factorize_layer(nn.Linear(6, 8), "svd", 3)[0].out_features == 3
    with pytest.raises(BadInput, match="3 ranks"):
        factorize_layer(layer, "tucker2", (3, 3, 3))


def test_ranks_of_numpy_can_be_written_as_json():
    found = factorize(nn.Linear(16, 16), torch.zeros(1, 16), "svd", Fixed(np.int64(3)))
    assert '"ranks": [\n    3\n   ]' in found.to_json()


@pytest.mark.parametrize("parameter", ["weight", "bias"])
def test_parameters_must_be_finite(parameter):
    layer = nn.Linear(6, 8)
    with torch.no_grad():
        getattr(layer, parameter)[0] = torch.inf
    with pytest.raises(BadInput, match=f"its {parameter} is not finite"):
        factorize_layer(layer, "svd", 3)
