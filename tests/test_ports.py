"""Inputs and outputs in the integers of a quantised network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgesmith import api
from edgesmith.device import Artifact
from edgesmith.errors import BadInput
from edgesmith.frontend.onnx import read
from edgesmith.ir import DType
from edgesmith.passes.quantized_values import Quantization
from edgesmith.pipeline.ports import ports_of

SCALES = {"x": (0.05, -3), "c": (0.02, 0), "y": (0.11, 7)}
BOTH = {"input_type": "quantized", "output_type": "quantized"}


def quantized(ending: str = "", beside: str = "") -> onnx.ModelProto:
    """A convolution between integers; then, and beside its input, an operator on floats where one is named."""
    rng = np.random.default_rng(0)
    constants = {"w": rng.integers(-100, 100, (4, 3, 3, 3), np.int8), "wz": np.int8(0)}
    nodes = [helper.make_node("DequantizeLinear", ["w", "c_scale", "wz"], ["wf"])]
    for value, (scale, zero) in SCALES.items():
        constants |= {f"{value}_scale": np.float32(scale), f"{value}_zero": np.int8(zero)}

    def rounded(value: str, into: str) -> None:
        parameters = [f"{into}_scale", f"{into}_zero"]
        nodes.append(helper.make_node("QuantizeLinear", [value, *parameters], [f"{into}_integers"]))
        last = "" if into == "x" else into
        nodes.append(
            helper.make_node("DequantizeLinear", [f"{into}_integers", *parameters], [last or f"{into}_floats"])
        )

    rounded("x", "x")
    nodes.append(helper.make_node("Conv", ["x_floats", "wf"], ["sums"], pads=[1, 1, 1, 1]))
    rounded("sums", "y")
    outputs = ["y"]
    if ending:
        nodes.append(helper.make_node(ending, ["y"], ["end"]))
        outputs = ["end"]
    if beside:
        nodes.append(helper.make_node(beside, ["x"], ["side"]))
        outputs.append("side")
    tensors = [numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()]
    io = [[helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 6, 5])]]
    io.append([helper.make_tensor_value_info(v, TensorProto.FLOAT, None) for v in outputs])
    graph = helper.make_graph(nodes, "net", *io, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_nothing_is_lost() -> None:
    model = quantized()
    ports = ports_of(read(model), **{k.removesuffix("_type") + "s": v for k, v in BOTH.items()})
    assert [ports.graph.type(v).dtype for v in (*ports.graph.inputs, *ports.graph.outputs)] == [DType.I8] * 2
    assert ports.quantizations == {v: Quantization(np.float32(SCALES[v][0]), SCALES[v][1], DType.I8) for v in "xy"}
    assert not {n.op.name for n in ports.graph.nodes if n.inputs[0] == "x"} & {"QuantizeLinear"}
    x = np.arange(-45, 45, dtype=np.int8).reshape(1, 3, 6, 5)
    floats = read(model).reference(ports.floats({"x": x}))
    got = ports.graph.reference({"x": x})["y"]
    np.testing.assert_array_equal(got, ports.integers({"y": floats["y"]})["y"])
    assert got.dtype == np.int8 and len(np.unique(got)) > 20


def test_as_the_model_declares_is_the_graph_itself() -> None:
    graph = read(quantized())
    assert ports_of(graph).graph is graph
    one = ports_of(graph, inputs="quantized")
    assert one.graph.type("x").dtype is DType.I8 and one.graph.type("y").dtype is DType.F32
    other = ports_of(graph, outputs="quantized")
    assert other.graph.type("x").dtype is DType.F32 and other.graph.type("y").dtype is DType.I8


@pytest.mark.parametrize(
    ("model", "inputs", "outputs", "message"),
    [
        (quantized(ending="Softmax"), "model", "quantized", "output 'end': is computed in floats \\(by Softmax\\)"),
        (quantized(beside="Sqrt"), "quantized", "model", "input 'x': is read as floats \\(by .*Sqrt"),
        (quantized(), "int8", "model", "'int8' is not one of model, quantized"),
    ],
)
def test_what_is_not_integers_is_named(model: onnx.ModelProto, inputs: str, outputs: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        ports_of(read(model), inputs, outputs)


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    place = tmp_path_factory.mktemp("ports") / "out"
    return api.compile(quantized(), output=place, tune="off", cache=False, name="net", **BOTH)


@pytest.mark.toolchain
def test_the_artifact_takes_and_gives_integers(artifact: Artifact) -> None:
    assert artifact.verification is not None and artifact.verification["ok"]
    (y,) = artifact.manifest["outputs"]
    assert (y["dtype"], y["scale"], y["zero_point"]) == ("i8", float(np.float32(0.11)), 7)
    header = (artifact.path / "src" / "net.h").read_text()
    assert "#define NET_INPUT_0_SCALE 0.05000000074505806f" in header
    assert "#define NET_INPUT_0_ZERO_POINT (-3)" in header and "#define NET_OUTPUT_0_ZERO_POINT (7)" in header
    x = np.random.default_rng(1).integers(-128, 128, (1, 3, 6, 5), np.int8)
    session = onnxruntime.InferenceSession(quantized().SerializeToString(), providers=["CPUExecutionProvider"])
    (want,) = session.run(None, {"x": (x.astype(np.float32) + 3) * np.float32(0.05)})
    np.testing.assert_array_equal(artifact(x), np.rint(want / np.float32(0.11)).astype(np.int8) + 7)


@pytest.mark.toolchain
def test_it_is_compared_with_the_model_later(artifact: Artifact) -> None:
    found = api.verify(artifact, quantized(), seed=5)
    assert found.ok and found.layers


def test_microcontrollers_need_less_memory(tmp_path: Path) -> None:
    needed = [
        api.compile(
            quantized(), target="stm32f746", output=tmp_path / f"{i}", tune="off", cache=False, verify=False, **types
        ).manifest["memory"]["ram_bytes"]
        for i, types in enumerate(({}, BOTH))
    ]
    x, y = 3 * 6 * 5, 4 * 6 * 5
    assert needed[1] <= needed[0] - 3 * (x + y)
