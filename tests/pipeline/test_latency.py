"""Latency as a function of a model: predicted, measured, modelled; what is kept and why."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import edgesmith
from edgesmith import api
from edgesmith.errors import BadInput, TargetError
from edgesmith.pipeline import latency as subject
from edgesmith.pipeline.latency import Latency, size_of
from edgesmith.pipeline.run_times import can_be_modelled
from edgesmith.pipeline.structure import structure_digest
from edgesmith.target import parse
from small_networks import residual_network


def retrained(model: onnx.ModelProto, sparse: bool = False, half: bool = False) -> onnx.ModelProto:
    """The model with other weights of the same shapes."""
    other = onnx.ModelProto()
    other.CopyFrom(model)
    for tensor in other.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype == np.float32:
            array = array * np.float32(1.37)
            array = np.where(np.arange(array.size).reshape(array.shape) % 2, array, 0) if sparse else array
            array = array.astype(np.float16).astype(np.float32) if half else array
            tensor.CopyFrom(numpy_helper.from_array(array.astype(np.float32), tensor.name))
    return other


def of_large_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without the small constants, whose values count."""
    other = onnx.ModelProto()
    other.CopyFrom(model)
    kept = [t for t in other.graph.initializer if np.prod(t.dims) >= 64]
    del other.graph.initializer[:]
    other.graph.initializer.extend(kept)
    return other


def convolution(channels: int) -> onnx.ModelProto:
    """3x3 on 64 channels of 28x28."""
    weights = np.random.default_rng(0).standard_normal((channels, 64, 3, 3)).astype(np.float32)
    node = onnx.helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])
    x, y = (onnx.helper.make_tensor_value_info(n, 1, (1, c, 28, 28)) for n, c in (("x", 64), ("y", channels)))
    graph = onnx.helper.make_graph([node], "g", [x], [y], [numpy_helper.from_array(weights, "w")])
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """How often a plan was made."""
    calls: list[str] = []
    original = subject.make_plan

    def planning(graph: Any, *args: Any, **named: Any) -> Any:
        calls.append(graph.name)
        return original(graph, *args, **named)

    monkeypatch.setattr(subject, "make_plan", planning)
    yield calls


def test_training_changes_no_structure_but_zeros_and_precision_do() -> None:
    model = of_large_weights(residual_network())
    digests = [
        structure_digest(m)
        for m in (
            model,
            retrained(model, sparse=True),
            retrained(model, half=True),
            of_large_weights(residual_network(1)),
        )
    ]
    assert structure_digest(retrained(model)) == digests[0]
    assert len(set(digests)) == 3


def test_small_constants_count_by_value() -> None:
    model = residual_network()
    assert structure_digest(model) != structure_digest(retrained(model))


def test_predicted_needs_no_compiler_and_is_kept(
    monkeypatch: pytest.MonkeyPatch, counted: list[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("edgesmith.toolchain.compiler.Compiler.run", lambda *_, **__: pytest.fail("started a compiler"))
    latency = edgesmith.latency(kept=tmp_path / "kept.jsonl")
    model = residual_network()
    first = latency(model)
    assert 0 < first < 1
    assert latency(model) == first and len(counted) == 1
    assert edgesmith.latency(kept=tmp_path / "kept.jsonl")(model) == first and len(counted) == 1
    assert edgesmith.latency("portable", kept=tmp_path / "kept.jsonl")(model) > first and len(counted) == 2


def test_a_line_that_was_cut_off_is_measured_again(counted: list[str], tmp_path: Path) -> None:
    file = tmp_path / "kept.jsonl"
    model = residual_network()
    edgesmith.latency(kept=file)(model)
    file.write_bytes(file.read_bytes()[:-3])
    edgesmith.latency(kept=file)(model)
    edgesmith.latency(kept=file)(model)
    assert len(counted) == 2


def test_predictions_follow_the_work_and_the_threads() -> None:
    narrow, wide = edgesmith.latency()(convolution(64)), edgesmith.latency()(convolution(128))
    assert 1.4 < wide / narrow < 2.6
    assert edgesmith.latency(threads=2)(convolution(128)) < wide


def test_predicted_size_is_that_of_the_weights() -> None:
    size = edgesmith.latency().size(convolution(64))
    assert size.code is None and size.nbytes == pytest.approx(64 * 64 * 9 * 4, rel=0.1)
    halved = edgesmith.latency(precision="fp16").size(convolution(64))
    assert halved.weights == pytest.approx(size.weights / 2, rel=0.1)


@pytest.mark.toolchain
def test_measured_times_are_interleaved_and_the_size_has_code(tmp_path: Path) -> None:
    latency = edgesmith.latency(mode="measured")
    assert latency.is_measured and latency.source == "measured on this machine"
    model = residual_network()
    milliseconds = latency(model)
    assert 0 < milliseconds < 100
    assert latency(model) == milliseconds
    times = latency.times({"a": model, "b": retrained(model)}, rounds=3)
    assert [len(t.rounds) for t in times.values()] == [3, 3]
    artifact = api.compile(model, output=tmp_path / "out", verify=False)
    assert latency.size(model).nbytes == pytest.approx(size_of(artifact).nbytes, rel=0.05)  # their names differ
    assert size_of(artifact).nbytes == artifact.library.stat().st_size


@pytest.mark.toolchain
def test_a_target_that_is_not_here_is_modelled_or_predicted(monkeypatch: pytest.MonkeyPatch) -> None:
    target = "raspberry-pi-4"
    latency = edgesmith.latency(target, mode="measured")
    assert not latency.is_measured
    with pytest.raises(BadInput, match="times are"):
        latency.times({"a": residual_network()})
    if can_be_modelled(parse(target)):
        assert "llvm-mca" in latency.source
        assert latency(residual_network()) == pytest.approx(edgesmith.latency(target)(residual_network()), rel=2.0)
    monkeypatch.setattr(subject, "can_be_modelled", lambda _: False)
    fallen_back = edgesmith.latency(target, mode="measured")
    assert "not here" in fallen_back.source
    assert fallen_back(residual_network()) == edgesmith.latency(target)(residual_network())


@pytest.mark.toolchain
def test_the_size_on_a_microcontroller_is_its_flash() -> None:
    size = edgesmith.latency("stm32f746", mode="measured").size(residual_network())
    assert size.code and 1_000 < size.code < 200_000


def test_errors_say_what_to_do() -> None:
    with pytest.raises(BadInput, match="predicted, measured, tuned"):
        edgesmith.latency(mode="guessed")
    with pytest.raises(BadInput, match="need no device"):
        edgesmith.latency(on="ssh://pi@host")
    with pytest.raises(BadInput, match="example"):
        edgesmith.latency()(SimpleNamespace())
    with pytest.raises(TargetError):
        edgesmith.latency("no-such-device")


def test_tuning_and_precision_reach_the_compiler() -> None:
    told: dict[str, Any] = {}

    def compile(model: Any, **options: Any) -> Any:
        told.update(options, model=model)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Latency(mode="tuned", precision="int8", threads=2, compile=compile)(residual_network())
    assert (told["tune"], told["threads"], told["verify"]) == ("full", 2, False)
    assert any(n.op_type == "QuantizeLinear" for n in told["model"].graph.node)


@pytest.mark.torch
def test_modules_of_fewer_channels_are_faster() -> None:
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    nn = torch.nn

    def module(channels: int) -> Any:
        return nn.Sequential(nn.Conv2d(3, channels, 3), nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, 8, 3))

    latency = edgesmith.latency(example=torch.zeros(1, 3, 24, 24))
    wide = module(64).train()
    assert latency(module(16)) < latency(wide)
    assert wide.training


@pytest.mark.torch
@pytest.mark.toolchain
def test_a_module_is_measured_once_for_its_shapes() -> None:
    torch = pytest.importorskip("torch")
    nn = torch.nn
    module = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 36, 10))
    latency = edgesmith.latency(mode="measured", example=torch.zeros(1, 3, 8, 8))
    found = latency(module)
    with torch.no_grad():
        module[3].weight.mul_(0.9)
    assert latency(module) == found


def test_what_stands_in_for_a_quantised_model_is_planned_as_one() -> None:
    floats, integers = edgesmith.latency("raspberry-pi-4"), edgesmith.latency("raspberry-pi-4", precision="int8")
    assert integers(convolution(128)) < floats(convolution(128))
    assert integers.size(convolution(64)).weights < 0.4 * floats.size(convolution(64)).weights
