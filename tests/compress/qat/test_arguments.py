"""What does not fit is refused in words."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from edgesmith.compress import qat
from edgesmith.compress.sparsify import Sparsifier
from edgesmith.errors import BadInput

pytestmark = pytest.mark.torch

X = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 4))


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: qat.Settings(weight_bits=4.5), "4.5 bits are no whole number"),  # type: ignore[arg-type]
        (lambda: qat.Settings(bits=(("0", 3.0),)), "3.0 bits are no whole number"),  # type: ignore[arg-type]
        (lambda: qat.Settings(weights="binary", keep_zeros=True), "no 0 to keep"),
        (lambda: qat.Schedule(3, shares=(0.5, 2.0)), "a share of 2 is not from 0 to 1"),
        (lambda: qat.advance(qat.prepare(network(), X), float("nan")), "a share of nan is not from 0 to 1"),
        (lambda: qat.prepare(network().double(), X.double()), "prepare: 0: its weights are torch.float64"),
        (lambda: qat.prepare(qat.prepare(network(), X), X), "prepare: 0: the layer is prepared already"),
        (lambda: qat.prepare(masked()[0], X), "prepare: 0: its weights are masked"),
    ],
)
def test_arguments_out_of_range(call: Callable[[], object], told: str) -> None:
    with pytest.raises(BadInput, match=told):
        call()


@pytest.mark.parametrize(
    "function",
    [
        qat.convert,
        qat.simulate,
        qat.freeze,
        qat.clipping_penalty,
        lambda module: qat.change(module, qat.Settings()),
        lambda module: qat.advance(module, 0.5),
        lambda module: qat.Schedule(3).on_epoch(module, 2),
    ],
)
def test_modules_that_are_not_prepared(function: Callable[[nn.Module], object]) -> None:
    with pytest.raises(BadInput, match="Sequential is not prepared"):
        function(network())


@pytest.mark.parametrize("function", [qat.convert, lambda module: qat.change(module, qat.Settings())])
def test_wrapped_modules(function: Callable[[nn.Module], object]) -> None:
    with pytest.raises(BadInput, match="Sequential holds a prepared module"):
        function(nn.Sequential(qat.prepare(network(), X)))


def masked() -> tuple[nn.Sequential, Sparsifier]:
    made = network()
    sparsifier = Sparsifier(made, "unstructured", density=0.25, include=("0",))
    sparsifier.step()
    return made, sparsifier


@pytest.mark.parametrize("weights", ["lsq", "min-max", "twn", "inq"])
def test_zeros_of_a_sparse_network_are_kept(weights: str) -> None:
    sparse, sparsifier = masked()
    sparsifier.finish()
    zeros = sparse[0].weight == 0
    assert 0.5 < float(zeros.float().mean()) < 0.9
    for keep in (False, True):
        module = qat.prepare(sparse, X, qat.Settings(weights=weights, keep_zeros=keep))
        optimizer = torch.optim.AdamW(qat.parameter_groups(module, lr=0.05, weight_decay=0.1))
        for _ in range(3):
            optimizer.zero_grad()
            module.train()(X).square().sum().backward()
            optimizer.step()
        layer = dict(qat.layers(module))["0"]
        assert bool((layer.coded().codes[zeros] == 0).all() and (layer.weight[zeros] == 0).all()) is keep
        assert bool((layer.weight[~zeros] != 0).all())
