"""Layers with code of their own, and what stays in floats, each with its reason."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from edgesmith.compress import qat

pytestmark = pytest.mark.torch

X = torch.randn(8, 3, 9, 9, generator=torch.Generator().manual_seed(0))


class Same(nn.Conv2d):
    """Pads as TensorFlow does, by what the sizes of its input and of its kernel ask for."""

    def forward(self, x: Tensor) -> Tensor:
        pads = []
        for size, kernel, stride in zip(x.size()[-2:], self.weight.shape[-2:], self.stride, strict=True):
            pad = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
            pads = [pad // 2, pad - pad // 2, *pads]
        return functional.conv2d(functional.pad(x, pads), self.weight, self.bias, self.stride, (0, 0), self.dilation)


class Named(nn.Linear):
    """Another name alone."""


class Doubled(nn.Linear):
    """Code after the product as well."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).relu() * 2


def circular(*sizes: int) -> nn.Module:
    return nn.Conv2d(*sizes, padding=1, padding_mode="circular")


def network(convolution: Callable[..., nn.Module], linear: Callable[..., nn.Module] = nn.Linear) -> nn.Module:
    torch.manual_seed(3)
    before, after = nn.Conv2d(3, 8, 3, bias=False), nn.Sequential(nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten())
    made = convolution(8, 8, 3)
    size = made(torch.zeros(1, 8, 7, 7)).numel()
    return nn.Sequential(
        before, nn.BatchNorm2d(8), nn.ReLU(), made, *after, linear(size, 8), nn.ReLU(), nn.Linear(8, 4)
    )


NETWORKS = {
    "same": network(lambda *sizes: Same(*sizes, stride=2)),
    "circular": network(circular),
    "reflect": network(lambda *sizes: nn.Conv2d(*sizes, padding=2, padding_mode="reflect")),
    "named": network(nn.Conv2d, Named),
    "doubled": network(nn.Conv2d, Doubled),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_layers_with_code_around_their_product_are_integers(name: str) -> None:
    own = NETWORKS[name].eval()
    states = torch.get_rng_state()
    module = qat.prepare(own, X[:2], init=[X])
    assert torch.equal(torch.get_rng_state(), states)
    assert [path for path, _ in qat.layers(module)] == ["0", "3", "7", "9"] and not module.quantization.floats
    exact = own(X).detach()
    assert (module(X) - exact).norm() < 0.05 * exact.norm()
    assert {p for p in dict(module.named_parameters()) if "norm" not in p and "factor" not in p} >= {
        p for p in dict(own.named_parameters()) if p.rpartition(".")[0] in ("0", "3", "7", "9")
    }
    module.train()(X).square().mean().backward()
    assert all(p.grad is not None for p in module.parameters())
    mine = module.eval()(X).detach().numpy()
    np.testing.assert_allclose(mine, qat.simulate(module)(X).numpy(), rtol=0, atol=1e-5 * np.abs(mine).max())
    converted = qat.convert(module, X)
    assert converted.graph.type(converted.graph.inputs[0]).shape == tuple(X.shape) and not converted.floats


class ByHand(nn.Module):
    """Its control flow depends on values."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Conv2d(8, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) if x.sum() < 1e9 else x


class Squared(nn.Conv2d):
    """Weights that code computes."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.weight.square())


class Mixed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.up, self.last = nn.Conv2d(3, 8, 3), nn.ConvTranspose2d(8, 8, 2, stride=2), nn.Conv2d(8, 8, 1)
        self.normed = nn.utils.parametrizations.weight_norm(nn.Conv2d(8, 8, 1))
        self.squared, self.branch, self.asked = Squared(8, 8, 1), ByHand(), nn.Conv2d(8, 8, 1)
        self.attention, self.auxiliary = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 2)
        self.table, self.tied = nn.Parameter(torch.randn(8, 8, 1, 1)), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        y = self.last(self.up(self.stem(x).relu()).relu()).relu()
        y = self.asked(self.branch(self.squared(self.normed(y)))).relu()
        y = functional.conv2d(y, self.table).flatten(2).transpose(1, 2)
        return self.attention(y, y, y)[0] @ self.tied.weight


def test_whatever_stays_in_floats_has_its_reason() -> None:
    module = qat.prepare(Mixed().eval(), X[:1], qat.Settings(floats=("asked",)), init=[X])
    assert [path for path, _ in qat.layers(module)] == ["stem", "last"]
    said = module.quantization.floats
    assert {path: next(why for why in REASONS if why in said[path]) for path in said} == {
        "up": "ConvTranspose2d has no integer form",
        "normed": "computed from other parameters",
        "squared": "otherwise than by one call",
        "branch.inner": "cannot be traced",
        "attention": "MultiheadAttention has no integer form",
        "auxiliary": "the example does not evaluate it",
        "tied": "otherwise than by calling it",
        "table": "it is no weight of a layer",
    }


REASONS = (
    *("ConvTranspose2d has no integer form", "computed from other parameters", "otherwise than by one call"),
    *("cannot be traced", "MultiheadAttention has no integer form", "the example does not evaluate it"),
    *("otherwise than by calling it", "it is no weight of a layer"),
)


def test_layers_that_blocks_do_not_fit_have_their_reason() -> None:
    module = nn.Sequential(nn.Linear(40, 64), nn.ReLU(), nn.Linear(64, 64))
    settings = qat.Settings(weights="blocks", activations="floats", block=32)
    rounded = qat.prepare(module, torch.randn(4, 40), settings)
    assert list(rounded.quantization.floats) == ["0"] and "32 do not divide" in rounded.quantization.floats["0"]
