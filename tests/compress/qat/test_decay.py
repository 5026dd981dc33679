"""Weight decay is for weights, and for what PACT clips at."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edgesmith.chain.stages.qat import Following
from edgesmith.compress import qat
from edgesmith.compress.training import Batches, Pictures, Settings, fit
from edgesmith.compress.training.optimisers import build_optimiser

pytestmark = pytest.mark.torch

PICTURES = torch.randint(0, 255, (32, 1, 4, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
BATCHES = Batches(Pictures(PICTURES, torch.arange(32) % 3), 16)


class WithFactor(nn.Module):
    """Its own parameter is called like learned scales are."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.last = nn.Linear(32, 128), nn.Linear(128, 128), nn.Linear(128, 3)
        self.factor = nn.Parameter(torch.ones(2, 64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x.flatten(1)).relu() * self.factor.flatten()
        return self.last(self.second(x).relu())


def prepared(**settings: object) -> qat.QuantizedModule:
    x = next(iter(BATCHES)).inputs
    return qat.prepare(WithFactor(), x[:2], qat.Settings(**settings), init=[x])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "settings",
    [{"weights": "blocks", "activations": "floats", "block": 32}, {}, {"activations": "pact", "per_channel": False}],
)
def test_learned_scales_do_not_decay(settings: dict[str, object]) -> None:
    module = prepared(**settings)
    scales = {n for n, _ in module.named_parameters() if "quantizer" in n}
    assert scales
    for groups in (
        build_optimiser([module], Settings(weight_decay=0.1)).param_groups,
        qat.parameter_groups(module, lr=0.1, weight_decay=0.1),
    ):
        decayed = {id(p) for group in groups if group["weight_decay"] for p in group["params"]}
        found = {name for name, p in module.named_parameters() if id(p) in decayed}
        assert found == {"factor", "first.weight", "second.weight", "last.weight"}
    (own,) = qat.parameter_groups(module, lr=0.1, scale_lr=0.3)[-1:]
    assert {id(p) for p in own["params"]} == {id(p) for n, p in module.named_parameters() if n in scales}


def test_what_pact_clips_at_decays() -> None:
    """Section 3 of arXiv:1805.06085: the loss has alpha squared times half the weight decay; alpha is scale * 255."""
    alphas = {}
    for decay in (0.0, 0.05):
        module = prepared(activations="pact")
        settings = Settings(epochs=1, optimiser="sgd", lr=1e-3, momentum=0.0, weight_decay=decay, schedule="constant")
        fit(module, BATCHES, settings, callbacks=[Following(1)], shown=False)
        alphas[decay] = float(qat.clipping_penalty(module))
    assert alphas[0.05] < alphas[0.0] * (1 - 1e-4)


def test_decay_is_the_gradient_of_the_penalty() -> None:
    module = prepared(activations="pact")
    (0.05 / 2 * qat.clipping_penalty(module)).backward()  # type: ignore[union-attr]
    expected = {n: p.grad.clone() for n, p in module.named_parameters() if p.grad is not None}
    module.zero_grad()
    qat.decay_clipping(module, 0.05)
    assert expected and all(torch.equal(p.grad, expected[n]) for n, p in module.named_parameters() if n in expected)
    plain = prepared()
    qat.decay_clipping(plain, 0.05)
    assert all(p.grad is None for p in plain.parameters())
