"""Several tasks on one encoder: outputs, losses, training, and the compiled program."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn
from torch.nn import functional

import edgesmith
from edgesmith.compress.multitask import MultiTask, OfExamples, UncertaintyWeighted, Weighted, multitask
from edgesmith.compress.training import Batches, Pictures, Settings, fit
from edgesmith.errors import BadInput
from edgesmith.frontend.torch import export

pytestmark = pytest.mark.torch

TASKS = {"shape": 4, "colour": 3}  # not in the order of the alphabet
SMALL = {"width": 0.1, "depth": 0.3, "image_size": 16, "channels": 1, "reduction": 4}
CROSS_ENTROPIES = dict.fromkeys(TASKS, functional.cross_entropy)


def small(seed: int = 0) -> MultiTask:
    return multitask("mobilenet-v2", TASKS, seed=seed, **SMALL)


def labelled(count: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Stripes whose direction is the shape and whose brightness is the colour."""
    numbers = torch.arange(count)
    shapes, colours = numbers % 4, numbers // 4 % 3
    row, column = torch.meshgrid(torch.arange(16), torch.arange(16), indexing="ij")
    patterns = torch.stack([row, column, row + column, row - column]) // 2 % 2
    pictures = patterns[shapes] * (60 + 60 * colours)[:, None, None]
    return pictures[:, None].to(torch.uint8), {"shape": shapes, "colour": colours}


def test_every_task_has_its_outputs_and_all_share_the_encoder():
    network = small()
    outputs = network(torch.randn(2, 1, 16, 16))
    assert {k: tuple(v.shape) for k, v in outputs.items()} == {"shape": (2, 4), "colour": (2, 3)}
    assert list(outputs) == list(TASKS)
    first = network.encoder.features.get_submodule("0").conv.weight
    for output in outputs.values():
        assert torch.autograd.grad(output.square().sum(), first, retain_graph=True)[0].abs().sum() > 0


def test_any_module_can_encode_and_any_be_a_head():
    body = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU())
    head = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1))
    network = multitask(body, {"age": head, "kind": 5}, features=8)
    assert {k: tuple(v.shape) for k, v in network(torch.zeros(3, 4, 4)).items()} == {"age": (3, 1), "kind": (3, 5)}
    assert network.encoder is body


def test_the_seed_decides_the_weights():
    states = [small(seed).state_dict() for seed in (1, 1, 2)]
    assert all(torch.equal(a, b) for a, b in zip(states[0].values(), states[1].values(), strict=True))
    assert not torch.equal(states[0]["heads.shape.weight"], states[2]["heads.shape.weight"])


def test_weighted_sum():
    outputs = {"a": torch.tensor([1.0, 3.0]), "b": torch.tensor([2.0, 2.0])}
    targets = {"a": torch.zeros(2), "b": torch.zeros(2)}
    loss = Weighted(dict.fromkeys("ab", functional.mse_loss), {"b": 0.25})
    assert loss(outputs, targets).item() == 5.0 + 0.25 * 4.0
    assert loss(outputs, {"b": torch.zeros(2)}).item() == 1.0


def test_learned_variances_reach_the_optimum_of_each_task():
    """The minimum of L exp(-s) + s/2 is at exp(s) = 2 L, that of L exp(-s) / 2 + s/2 at exp(s) = L."""
    loss = UncertaintyWeighted({"kind": lambda y, t: y.mean(), "age": lambda y, t: y.mean()}, regressions=["age"])
    outputs = {"kind": torch.tensor([0.3]), "age": torch.tensor([5.0])}
    optimizer = torch.optim.LBFGS(loss.parameters(), max_iter=100)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = loss(outputs, outputs)
        value.backward()
        return value

    optimizer.step(closure)
    assert loss.log_variance["kind"].item() == pytest.approx(math.log(2 * 0.3), abs=1e-3)
    assert loss.log_variance["age"].item() == pytest.approx(math.log(5.0), abs=1e-3)


@pytest.mark.parametrize("kind", [Weighted, UncertaintyWeighted])
def test_fit_learns_all_tasks(kind):
    pixels, targets = labelled(96)
    network, loss = small(), kind(CROSS_ENTROPIES)
    data = Batches(Pictures(pixels, targets["shape"]), 24)
    settings = Settings(epochs=10, optimiser="adamw", lr=0.01)
    fit(network, data, settings, loss=OfExamples(loss, targets), extra=[loss], shown=False)
    network.eval()
    batches = list(data.evaluation().batches(0))
    outputs = network(torch.cat([batch.inputs for batch in batches]))
    for task, target in targets.items():
        assert (outputs[task].argmax(1) == target).float().mean() > 0.8, task
    if isinstance(loss, UncertaintyWeighted):
        assert all(v.item() != 0 for v in loss.log_variance.values())


def test_exported_outputs_are_called_like_the_tasks(tmp_path: Path):
    network, given = small(), torch.randn(1, 1, 16, 16)
    export(network, given, tmp_path / "net.onnx", traced=True)
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    assert [o.name for o in session.get_outputs()] == list(TASKS)
    computed = session.run(None, {session.get_inputs()[0].name: given.numpy()})
    expected = network.eval()(given)
    for output, task in zip(computed, TASKS, strict=True):
        np.testing.assert_allclose(output, expected[task].detach().numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.toolchain
def test_the_compiled_program_has_every_task(tmp_path: Path):
    network, given = small(), torch.randn(1, 1, 16, 16)
    artifact = edgesmith.from_torch(network, given, output=tmp_path / "net", cache=False, tune="off")
    computed, expected = artifact(given.numpy()), network.eval()(given)
    assert list(computed) == list(TASKS)
    for task, output in computed.items():
        np.testing.assert_allclose(output, expected[task].detach().numpy(), rtol=1e-4, atol=1e-5)


def test_what_does_not_fit_is_said():
    with pytest.raises(BadInput, match="no heads"):
        multitask("mobilenet-v2", {})
    with pytest.raises(BadInput, match="how many features"):
        multitask(nn.Flatten(), {"kind": 3})
    with pytest.raises(BadInput, match="0 outputs"):
        multitask(nn.Flatten(), {"kind": 0}, features=4)
    with pytest.raises(BadInput, match="takes no width"):
        multitask(nn.Flatten(), {"kind": 3}, features=4, width=2.0)
    with pytest.raises(BadInput, match="no such task: age"):
        Weighted(CROSS_ENTROPIES, {"age": 1.0})
    with pytest.raises(BadInput, match="no such task: age"):
        Weighted(CROSS_ENTROPIES)({}, {"age": torch.zeros(1)})
    with pytest.raises(BadInput, match="no targets"):
        Weighted(CROSS_ENTROPIES)({}, {})


def test_losses_that_are_modules_are_trained_and_moved():
    class Scaled(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(()))

        def forward(self, output, target):
            return self.scale * (output - target).square().mean()

    loss = Weighted({"a": Scaled(), "b": torch.nn.MSELoss()})
    assert len(list(loss.parameters())) == 1
    with pytest.raises(BadInput, match="no such task: b"):
        loss({"a": torch.zeros(2)}, {"a": torch.ones(2), "b": torch.ones(2)})
