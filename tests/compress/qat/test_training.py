"""Training: normalisation, freezing, resuming, changing bits, errors."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402

import edgesmith  # noqa: E402
from edgesmith.compress import qat  # noqa: E402
from edgesmith.compress.qat.layer import QuantizedLayer  # noqa: E402
from edgesmith.compress.qat.quantizers import base, lsq  # noqa: E402
from edgesmith.compress.training import Ema  # noqa: E402
from edgesmith.errors import BadInput  # noqa: E402
from edgesmith.frontend.onnx import read  # noqa: E402
from edgesmith.passes import optimize  # noqa: E402
from edgesmith.verify import wrong_integers  # noqa: E402

from .qat_networks import Concatenating, Depthwise, Plain, Residual, Signed, inputs, trained  # noqa: E402

pytestmark = pytest.mark.torch


def prepared(kind: type[nn.Module], **settings: Any) -> qat.QuantizedModule:
    return qat.prepare(trained(kind), inputs(kind, 2, 1), qat.Settings(**settings), init=[inputs(kind, 16, 2)])


def train(module: nn.Module, steps: int, seed: int = 3, lr: float = 2e-3) -> list[float]:
    torch.manual_seed(seed)
    module.train()
    optimizer = torch.optim.Adam(qat.parameter_groups(module, lr=lr))
    losses = []
    shape = module.quantization.example.shape[1:]
    x = torch.randn(16, *shape, generator=torch.Generator().manual_seed(seed))
    for _ in range(steps):
        loss = nn.functional.cross_entropy(module(x), torch.arange(16) % 5)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def outputs(module: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return module.eval()(x)


def test_everything_is_trained_and_the_loss_falls() -> None:
    module = prepared(Residual, weight_bits=4, keep=("fc",))
    before = {n: p.detach().clone() for n, p in module.named_parameters()}
    losses = train(module, 25)
    assert losses[-1] < 0.8 * losses[0]
    still = [n for n, p in module.named_parameters() if torch.equal(p, before[n])]
    assert not still
    assert "conv1.weight" in before and "conv1.norm.weight" in before and "quantizers.relu.factor" in before


def test_normalisation_trains_as_without_quantisation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without rounding, folding and unfolding is nothing, for outputs, gradients and statistics."""
    network = trained(Depthwise)
    module = qat.prepare(network, inputs(Depthwise, 2, 1), qat.Settings(), init=[inputs(Depthwise, 64, 2)])
    for place in (base, lsq):
        monkeypatch.setattr(place, "rounded", lambda x, *_: x)
    x = inputs(Depthwise, 64, 2) * 0.8
    mine, theirs = module.train()(x), network.train()(x)
    close = {"rtol": 1e-3, "atol": 1e-4}  # some 20 roundings of f32 a layer, multiplied by gains up to 3 in each
    torch.testing.assert_close(mine, theirs, **close)
    mine.square().sum().backward()
    theirs.square().sum().backward()
    for conv, norm in (("stem.0", "stem.1"), ("block.1.0", "block.1.1"), ("head.0", "head.1")):
        layer, expected = module.get_submodule(conv), network.get_submodule(norm)
        torch.testing.assert_close(layer.norm.running_var, expected.running_var, **close)
        torch.testing.assert_close(layer.norm.running_mean, expected.running_mean, **close)
        torch.testing.assert_close(layer.norm.weight.grad, expected.weight.grad, **close)
        torch.testing.assert_close(layer.weight.grad, network.get_submodule(conv).weight.grad, **close)


def switched_off() -> nn.Module:
    """A channel of one normalisation, and a block that begins as nothing, as new residual blocks often do."""
    network = trained(Residual)
    with torch.no_grad():
        network.norm1.weight[2] = network.norm1.bias[2] = 0
        network.norm2.weight.zero_()
        network.norm2.bias.zero_()
    return network


@pytest.mark.parametrize("weights", ["lsq", "min-max", "inq", "twn", "binary"])
def test_channels_that_normalisation_switches_off_can_be_trained(weights: str) -> None:
    network, x = switched_off(), inputs(Residual, 16, 2)
    module = qat.prepare(network, x[:2], qat.Settings(weights=weights, keep=("stem", "fc")), init=[x])
    assert outputs(module, x).isfinite().all()
    if weights in ("lsq", "min-max"):
        exact = outputs(network, x)
        assert (outputs(module, x) - exact).norm() < 0.05 * exact.norm()
    train(module, 1)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in module.parameters())
    assert module.get_submodule("conv2").norm.weight.grad.abs().min() > 0
    assert outputs(module, x).isfinite().all()


def test_switched_on_again_channels_are_as_before() -> None:
    """Their scales are those of the weights, however long they were off."""
    network, x = trained(Residual), inputs(Residual, 16, 2)
    exact = outputs(network, x)
    module = qat.prepare(switched_off(), x[:2], init=[x])
    with torch.no_grad():
        for path in ("conv1", "conv2"):
            own, trained_norm = module.get_submodule(path).norm, network.get_submodule(path.replace("conv", "norm"))
            own.load_state_dict(trained_norm.state_dict())
    assert (outputs(module, x) - exact).norm() < 0.1 * exact.norm()
    assert qat.convert(module).graph


def test_frozen_training_computes_what_evaluation_does() -> None:
    module = prepared(Depthwise)
    train(module, 2)
    qat.freeze(module)
    x = inputs(Depthwise, 8, 5)
    statistics = module.get_submodule("stem.0").norm.running_mean.clone()
    training = module.train()(x).detach()
    assert torch.equal(statistics, module.get_submodule("stem.0").norm.running_mean)
    # sums of f32 numbers instead of integers: a tie may turn and is then a step somewhere, which is a few percent here
    assert (training - outputs(module, x)).abs().max() < 0.02 * training.abs().max()


def test_evaluation_has_gradients() -> None:
    module = prepared(Plain).eval()
    x = inputs(Plain, 4, 5)
    exact = outputs(module, x)
    found = module(x)
    assert torch.equal(found, exact)
    found.sum().backward()
    assert all(p.grad is not None for p in module.parameters())


def test_training_resumes_from_a_state() -> None:
    module = prepared(Residual, activations="ema", weight_bits=5)
    train(module, 3)
    qat.freeze(module)
    resumed = prepared(Residual, activations="ema", weight_bits=5)
    resumed.load_state_dict(copy.deepcopy(module.state_dict()))
    x = inputs(Residual, 4, 6)
    assert torch.equal(outputs(module, x), outputs(resumed, x))
    assert train(module, 3) == train(resumed, 3)
    assert qat.convert(module).graph.digest == qat.convert(resumed).graph.digest


def test_copies_are_independent() -> None:
    module = prepared(Concatenating)
    other = copy.deepcopy(module)
    x = inputs(Concatenating, 4, 6)
    before = outputs(other, x)
    train(module, 3)
    assert torch.equal(outputs(other, x), before)
    assert not torch.equal(outputs(module, x), before)
    train(other, 3)
    assert torch.equal(outputs(module, x), outputs(other, x))


def test_fewer_bits_step_by_step() -> None:
    module = prepared(Residual)
    train(module, 2)
    weights = {p: layer.weight.detach().clone() for p, layer in qat.layers(module)}
    qat.change(module, qat.Settings(weight_bits=4, keep=("fc", "stem")))
    assert all(torch.equal(layer.weight, weights[p]) for p, layer in qat.layers(module))
    largest = {p: int(layer.coded().codes.abs().max()) for p, layer in qat.layers(module)}
    assert largest["conv1"] == largest["conv2"] == 7 and largest["stem"] > 7
    train(module, 2)
    assert not qat.convert(module).floats
    with pytest.raises(BadInput, match="prepared anew"):
        qat.change(module, qat.Settings(floats=("fc",)))


def test_incremental_quantisation_ends_with_powers_of_two() -> None:
    module = prepared(Residual, weights="inq", weight_bits=5, keep=("stem", "fc"))
    schedule = qat.Schedule(4, freeze_at=0.5)
    for epoch in range(4):
        schedule.on_epoch(module, epoch)
        train(module, 2)
    schedule.on_epoch(module, 4)
    module.get_submodule("drop").p = 0.0
    x, steps = inputs(Residual, 4, 6), 1 / 50
    assert (outputs(module, x) - module.train()(x)).abs().max() < steps
    codes, _ = dict(qat.layers(module))["conv1"].coded()
    assert set(codes.abs().unique().tolist()) <= {0.0, *(2.0**i for i in range(7))}
    assert bool(dict(qat.layers(module))["conv1"].quantizer.is_fixed.all())


def test_layers_that_are_not_quantised() -> None:
    module = prepared(Residual, floats=("stem",), bits=(("conv2", 3),))
    assert [p for p, _ in qat.layers(module)] == ["conv1", "conv2", "fc"]
    assert dict(qat.layers(module))["conv2"].coded().codes.abs().max() == 3
    x = inputs(Residual, 2, 6)
    torch.testing.assert_close(outputs(module, x), qat.simulate(module)(x), rtol=1e-4, atol=1e-4)


def test_any_number_of_samples_is_simulated() -> None:
    module = prepared(Plain)
    x = inputs(Plain, 5, 7)
    torch.testing.assert_close(qat.simulate(module)(x), outputs(module, x), rtol=1e-5, atol=1e-6)
    assert torch.equal(qat.simulate(module, x)(x), qat.simulate(module)(x))


SIGNS = {
    "xnor": {"weights": "binary", "activations": "signs", "keep": ("stem", "fc")},
    "ternary weights": {"weights": "twn", "keep": ("stem", "fc")},
    "ternary weights, signs": {"weights": "twn", "activations": "signs", "keep": ("stem", "fc")},
}


@pytest.mark.toolchain
@pytest.mark.parametrize("name", SIGNS)
def test_binary_and_ternary_networks_compile(name: str, tmp_path: Path) -> None:
    module = prepared(Signed, **SIGNS[name])
    losses = train(module, 20)
    assert losses[-1] < losses[0]
    converted, x = qat.convert(module.eval()), inputs(Signed, 2, 8)
    options: dict[str, Any] = {"tune": "off", "verify": False, "cache": False, "emit": ("shared",)}
    artifact = edgesmith.compile(converted.model, output=tmp_path / "out", **options)
    graph, _ = optimize(read(converted.model))
    operators = [n.op.name for n in graph.nodes]
    assert operators.count("SignConv") == (2 if "activations" in SIGNS[name] else 0)
    assert operators.count("ConvInteger") + operators.count("MatMulInteger") == (
        2 if "activations" in SIGNS[name] else 4
    )
    wrong, compared = wrong_integers(artifact, graph, {graph.inputs[0]: x.numpy()}, artifact.context())
    assert compared and not wrong
    program = artifact(x.numpy())
    simulated = qat.simulate(module)(x).numpy()
    np.testing.assert_allclose(program, simulated, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(outputs(module, x).numpy(), simulated, rtol=1e-5, atol=1e-6)


def test_signs_of_what_is_never_negative_are_refused() -> None:
    with pytest.raises(BadInput, match="conv1, conv2 are never negative") as error:
        prepared(Residual, **SIGNS["xnor"])
    assert "Hardtanh" in error.value.hint
    signs = SIGNS["xnor"] | {"keep": ("stem", "fc", "conv*")}
    assert prepared(Residual, **signs).quantization.settings.keep


def test_normalisation_behind_signs_is_frozen_last() -> None:
    """Other layers' are frozen for the last third."""
    module = prepared(Signed, **SIGNS["xnor"])
    layers = {n: m for n, m in module.named_modules() if isinstance(m, QuantizedLayer)}
    schedule = qat.Schedule(3)
    for epoch, frozen in ((1, set()), (2, {"stem", "fc"}), (3, {"stem", "conv1", "conv2", "fc"})):
        schedule.on_epoch(module, epoch)
        assert {name for name, layer in layers.items() if layer.frozen} == frozen


@pytest.mark.toolchain
def test_weights_in_blocks_compile(tmp_path: Path) -> None:
    """Activations are floats, so outputs agree up to the rounding of sums of at most 144 terms in f32."""
    module = prepared(Residual, weights="blocks", activations="floats", block=16)
    assert [p for p, _ in qat.layers(module)] == ["conv1", "conv2"]
    losses = train(module, 10)
    assert losses[-1] < losses[0]
    converted, x = qat.convert(module.eval()), inputs(Residual, 2, 8)
    assert [n.op.name for n in converted.graph.nodes].count("DequantizeLinearByBlock") == 2
    options: dict[str, Any] = {"tune": "off", "verify": False, "cache": False, "emit": ("shared",)}
    program = edgesmith.compile(converted.model, output=tmp_path / "out", **options)(x.numpy())
    np.testing.assert_allclose(outputs(module, x).numpy(), program, rtol=1e-4, atol=1e-5)


class _Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) if x.sum() > 0 else self.conv(-x)


def test_errors_say_what_to_do() -> None:
    x = torch.randn(1, 1, 6, 6)
    with pytest.raises(BadInput, match="parts cannot be traced: inner: "):
        qat.prepare(_Wrapped(), x)
    with pytest.raises(BadInput, match="no layer is called 'head'"):
        qat.prepare(Plain(), torch.randn(1, 1, 8, 8), qat.Settings(keep=("head",)))
    with pytest.raises(BadInput, match="conv1: the input of the layer does not vary"):
        qat.prepare(Plain(), torch.zeros(1, 1, 8, 8))
    for settings, message in (
        ({"weights": "lsqq"}, "there is no quantiser of weights"),
        ({"weight_bits": 9}, "from 2 to 8"),
        ({"activations": "signs"}, "weights of signs"),
    ):
        with pytest.raises(BadInput, match=message):
            qat.Settings(**settings)  # type: ignore[arg-type]


class _Wrapped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = _Branching()

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


@pytest.mark.parametrize("settings", [{}, {"weights": "inq", "weight_bits": 5}, {"activations": "ema"}], ids=str)
def test_averaged_weights_are_integers_too(settings: dict[str, Any]) -> None:
    """Averages take what cannot be averaged (freezing, codes that are fixed) as it is."""
    module = prepared(Plain, **settings)
    ema = Ema(module, 0.5)
    for step in range(3):
        train(module, 2, seed=step)
        qat.advance(module, (0.5, 0.75, 1.0)[step])
        if step == 1:
            qat.freeze(module)
        ema.update(module)
    ema.copy_to(module)
    for _, layer in qat.layers(module):
        assert layer.frozen
        codes = layer.coded().codes
        assert torch.equal(codes, codes.round())
    again = Ema(prepared(Plain, **settings), 0.5)
    again.load_state_dict(ema.state_dict())
    other = prepared(Plain, **settings)
    again.copy_to(other)
    x = inputs(Plain, 4, 5)
    assert torch.equal(outputs(other, x), outputs(module, x))


def test_mixed_precision_leaves_the_integers_of_evaluation_alone() -> None:
    module = prepared(Residual)
    x = inputs(Residual, 8, 5)
    expected = outputs(module, x)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(outputs(module, x), expected)


def test_weights_that_hooks_compute_are_refused_by_name() -> None:
    module = nn.Sequential(nn.Linear(3, 8), nn.utils.spectral_norm(nn.Linear(8, 4)))
    with pytest.raises(BadInput, match="prepare: 1: its weight is computed by a hook"):
        qat.prepare(module, torch.randn(2, 3))


class Paired(nn.Module):
    """What PyTorch's exporter by tracing refuses; the other one gives outputs a copy."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(3, 8), nn.Linear(3, 6)
        self.pairs, self.last = nn.Bilinear(8, 6, 5), nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.pairs(self.left(x), self.right(x)).relu())


def test_output_that_is_a_copy_of_a_value() -> None:
    x = torch.randn(16, 3, generator=torch.Generator().manual_seed(0))
    rounded = qat.prepare(Paired(), x, init=[x]).eval()
    with torch.no_grad():
        torch.testing.assert_close(rounded(x), qat.simulate(rounded)(x))
