"""What is trained, what is exported and what is compiled are the same network."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor, nn

import edgesmith
from edgesmith.compress import qat
from edgesmith.errors import BadInput
from edgesmith.oracle import Oracle
from edgesmith.passes import optimize
from edgesmith.quantize import Settings as PostTraining
from edgesmith.quantize import open_samples, quantize
from edgesmith.verify import wrong_integers

from .qat_networks import Attending, ChannelsLast, Concatenating, Depthwise, Plain, Residual, Shuffled, inputs, trained

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

NETWORKS = (Plain, Residual, Depthwise, Concatenating)
BITS = {"int8": qat.Settings(), "int4": qat.Settings(weight_bits=4, keep=("fc",))}


def prepared(kind: type[nn.Module], settings: qat.Settings, *, steps: int = 3) -> qat.QuantizedModule:
    """After a few steps of training."""
    module = qat.prepare(trained(kind), inputs(kind, 2, 1), settings, init=[inputs(kind, 16, 2)])
    train(module, inputs(kind, 16, 3), steps)
    return module.eval()


def train(module: nn.Module, x: Tensor, steps: int) -> list[float]:
    module.train()
    optimizer = torch.optim.Adam(qat.parameter_groups(module, lr=1e-3))
    losses = []
    for _ in range(steps):
        loss = nn.functional.cross_entropy(module(x), torch.arange(len(x)) % 5)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("kind", [*NETWORKS, Shuffled, Attending])
def test_starts_as_post_training_quantisation(kind: type[nn.Module]) -> None:
    x = inputs(kind, 16, 2)
    module = qat.prepare(trained(kind), inputs(kind, 2, 1), qat.Settings(weight_bits=4), init=[x])
    converted = qat.convert(module)
    samples = open_samples([x.numpy()], {v: converted.source.type(v) for v in converted.source.inputs})
    direct = quantize(converted.source, samples, PostTraining(weight_bits=4, recovery=()), compared=0)
    assert converted.graph.digest == direct.graph.digest
    assert not module.quantization.floats
    by_values = 2 if kind is Attending else 0
    assert list(converted.floats.values()) == ["its weights are computed at run time"] * by_values


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("kind", [*NETWORKS, ChannelsLast])
def test_trained_module_is_the_exported_model(kind: type[nn.Module], bits: str) -> None:
    """Against ONNX Runtime, which sums products of dequantised numbers in f32, where the module sums integers.

    A sum of K products is then off by at most (K + 2) * 2^-24 of the sum of their sizes. Before a rounding that decides
    ties alone, of which these inputs have none, so that the last layer's sums are what differs. The simulator computes
    the same integers, and the same multiplication after them.
    """
    module = prepared(kind, BITS[bits])
    converted, x = qat.convert(module), inputs(kind, 2, 4)
    with torch.no_grad():
        mine = module(x).numpy()
    oracle = Oracle(converted.model, optimized=False)
    (theirs,) = oracle.run({oracle.inputs[0]: x.numpy()}).values()
    simulated = qat.simulate(module)(x).numpy()
    np.testing.assert_array_equal(mine, simulated)
    assert np.abs(mine - theirs).max() <= rounding(dict(qat.layers(module))["fc"])


def rounding(last: qat.QuantizedLayer) -> float:
    """Of the results of a linear layer in f32."""
    codes, scale = last.coded()
    assert last.source is not None
    largest = last.source.scale.item() * max(map(abs, last.source.bounds))
    sizes = (codes.abs().sum(1) * scale * largest + last.bias.abs()).max()
    return (codes.shape[1] + 2) * 2.0**-24 * float(sizes)


@pytest.mark.toolchain
@pytest.mark.parametrize("kind", [Residual, Depthwise])
def test_compiled_program_has_the_module_s_integers(kind: type[nn.Module], tmp_path: Path) -> None:
    module = prepared(kind, BITS["int4"])
    converted, x = qat.convert(module), inputs(kind, 2, 5)
    options = {"tune": "off", "verify": False, "cache": False, "emit": ("shared",)}
    artifact = edgesmith.compile(converted.model, output=tmp_path / "out", **options)
    graph, _ = optimize(edgesmith.frontend.onnx.read(converted.model))
    integers = [n.op.name for n in graph.nodes if n.op.name.endswith("Integer")]
    assert len(integers) == len(list(qat.layers(module)))
    wrong, compared = wrong_integers(artifact, graph, {graph.inputs[0]: x.numpy()}, artifact.context())
    assert compared and not wrong
    simulation = qat.simulate(module)
    values = simulation.values({simulation.graph.inputs[0]: x.numpy()})
    stored = integers_of(module, x)
    found = 0
    for name, mine in stored.items():
        value = f"{converted.values[name]}:quantized"
        if value in values:
            np.testing.assert_array_equal(mine, values[value], err_msg=name)
            found += 1
    assert found >= 4


def integers_of(module: qat.QuantizedModule, x: Tensor) -> dict[str, np.ndarray]:
    """What the module's quantisers give, by the traced node that they follow."""
    found: dict[str, np.ndarray] = {}
    interpreter = torch.fx.Interpreter(module)
    original = interpreter.run_node

    def run_node(node: torch.fx.Node) -> object:
        result = original(node)
        if str(node.target).startswith("quantizers."):
            quantizer = module.get_submodule(str(node.target))
            steps = torch.round(result / quantizer.scale) + quantizer.zero
            found[node.args[0].name] = steps.numpy().astype(quantizer.dtype.numpy)
        return result

    interpreter.run_node = run_node
    with torch.no_grad():
        interpreter.run(x)
    return found


class NormAct(nn.BatchNorm2d):
    """As timm has it: normalisation by the function, then the activation."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.drop = nn.Identity()
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        own = (self.running_mean, self.running_var, self.weight, self.bias)
        return self.act(self.drop(nn.functional.batch_norm(x, *own, self.training, 0.1, self.eps)))


def network(norm: type[nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    made = nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False), norm(8), nn.Conv2d(8, 8, 3, bias=False), norm(8), nn.Conv2d(8, 4, 1, bias=False)
    )
    for part in made:
        if isinstance(part, nn.BatchNorm2d):
            part.running_var.uniform_(0.5, 4)
            part.running_mean.uniform_(-1, 1)
            part.weight.data.uniform_(0.5, 2)
    return made.eval()


def test_normalisation_in_a_piece_with_its_activation_is_folded() -> None:
    module, x = network(NormAct), torch.randn(4, 3, 12, 12)
    want = module(x)
    rounded = qat.prepare(module, x[:1], init=[x])
    assert not rounded.quantization.floats
    found = rounded.eval()(x)
    assert float((found - want).abs().max()) < 0.05 * float(want.abs().max())
    nodes = [node.op_type for node in qat.convert(rounded).model.graph.node]
    assert nodes.count("QuantizeLinear") >= 3


def test_layers_that_all_stay_in_floats_are_an_error() -> None:
    module = nn.Linear(4, 3)
    nn.init.constant_(module.weight, float("nan"))
    with pytest.raises(
        BadInput, match="no layer can be quantised, fc and all others because its weights are not finite"
    ):
        qat.prepare(nn.Sequential(OrderedDict(fc=module)), torch.randn(1, 4))


def test_average_pooling_of_integers_runs_with_all_of_the_runtime_s_kernels() -> None:
    """ONNX Runtime's integer kernel refuses dilations, also those of 1."""
    x = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    module = qat.prepare(nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.AvgPool2d(2), nn.Conv2d(8, 4, 1)), x, init=[x])
    model = qat.convert(module.eval()).model
    (pool,) = [node for node in model.graph.node if node.op_type == "AveragePool"]
    assert "dilations" not in {attribute.name for attribute in pool.attribute}
    oracle = Oracle(model, optimized=True)
    (theirs,) = oracle.run({oracle.inputs[0]: x.numpy()}).values()
    mine = module(x).detach().numpy()
    assert np.abs(mine - theirs).max() < 0.05 * np.abs(mine).max()
