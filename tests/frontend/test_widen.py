"""Models in fp16 computed in f32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import edgesmith
from edgesmith.frontend.normalize import normalize
from edgesmith.frontend.onnx import bind
from edgesmith.frontend.widen import widen
from edgesmith.ir import DType
from edgesmith.oracle import Oracle
from edgesmith.verify import accumulate

MATERIAL = Path(__file__).parents[3] / "shared" / "material" / "models"
HALF, FLOAT = TensorProto.FLOAT16, TensorProto.FLOAT


def model(
    nodes: list[onnx.NodeProto],
    inputs: dict[str, tuple[int, tuple[int, ...]]],
    outputs: dict[str, tuple[int, tuple[int, ...]]],
    **weights: np.ndarray,
) -> onnx.ModelProto:
    def infos(values: dict[str, tuple[int, tuple[int, ...]]]) -> list[onnx.ValueInfoProto]:
        return [helper.make_tensor_value_info(n, kind, shape) for n, (kind, shape) in values.items()]

    tensors = [numpy_helper.from_array(a, n) for n, a in weights.items()]
    graph = helper.make_graph(nodes, "half", infos(inputs), infos(outputs), tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def check(source: onnx.ModelProto, **feeds: np.ndarray) -> None:
    """The widened model and the bound graph agree with ONNX Runtime on the fp16 model."""
    source = normalize(source)
    wide = widen(source)
    onnx.checker.check_model(wide, full_check=True)
    graph = bind(source)
    halves = {v for v, t in graph.types.items() if t.dtype is DType.F16}
    readers = {n.op.name for v in halves for n in graph.consumers[v]}
    assert halves and readers <= {"Cast"}
    expected, exact = Oracle(source).run(feeds), Oracle(wide).run(feeds)
    mine, tolerances = graph.reference(feeds), accumulate(graph, feeds).tolerances
    for value, result in expected.items():
        assert exact[value].dtype == mine[value].dtype == result.dtype
        for found in (exact[value], mine[value]):
            np.testing.assert_allclose(found.astype(float), result.astype(float), 0, tolerances[value])


def test_f32_model_is_left_as_it_is() -> None:
    source = model([helper.make_node("Relu", ["x"], ["y"])], {"x": (FLOAT, (3,))}, {"y": (FLOAT, (3,))})
    assert widen(source) is source


def test_inputs_and_outputs_stay_half() -> None:
    rng = np.random.default_rng(1)
    weights = rng.standard_normal((6, 5)).astype(np.float16)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["product"]),
        helper.make_node("Relu", ["product"], ["inner"]),
        helper.make_node("Tanh", ["inner"], ["y"]),
    ]
    shapes = {"inner": (HALF, (4, 5)), "y": (HALF, (4, 5))}
    source = model(nodes, {"x": (HALF, (4, 6))}, shapes, w=weights)
    check(source, x=rng.standard_normal((4, 6)).astype(np.float16))


def test_outputs_that_are_weights_or_inputs() -> None:
    weights = np.arange(3, dtype=np.float16)
    nodes = [helper.make_node("Add", ["x", "w"], ["y"])]
    shape = (HALF, (3,))
    wide = widen(model(nodes, {"x": shape}, {"y": shape, "w": shape}, w=weights))
    onnx.checker.check_model(wide, full_check=True)
    results = Oracle(wide).run({"x": np.ones(3, np.float16)})
    np.testing.assert_array_equal(results["w"], weights)
    np.testing.assert_array_equal(results["y"], weights + 1)
    assert {v.dtype for v in results.values()} == {np.dtype(np.float16)}


def test_casts_of_a_mixed_model_keep_their_rounding() -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["h"], to=HALF),
        helper.make_node("Mul", ["h", "two"], ["d"]),
        helper.make_node("Cast", ["d"], ["y"], to=FLOAT),
    ]
    source = model(nodes, {"x": (FLOAT, (5,))}, {"y": (FLOAT, (5,))}, two=np.float16([2.0]))
    x = np.float32([1 / 3, 1e-8, 2049, 65519, -0.1])
    check(source, x=x)
    rounded = x.astype(np.float16).astype(np.float32) * 2
    np.testing.assert_array_equal(bind(normalize(source)).reference({"x": x})["y"], rounded)


def test_attributes_that_make_half_values() -> None:
    half = numpy_helper.from_array(np.float16([1.5]))
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("ConstantOfShape", ["shape"], ["filled"], value=half),
        helper.make_node("Add", ["x", "filled"], ["y"]),
    ]
    source = model(nodes, {"x": (HALF, (2, 3))}, {"y": (HALF, (2, 3))})
    wide = widen(source)
    assert Oracle(wide).run({"x": np.ones((2, 3), np.float16)})["y"].dtype == np.float16
    check(source, x=np.ones((2, 3), np.float16))


def test_names_that_are_taken() -> None:
    nodes = [helper.make_node("Relu", ["x"], ["x:f32"]), helper.make_node("Neg", ["x:f32"], ["y"])]
    source = model(nodes, {"x": (HALF, (4,))}, {"y": (HALF, (4,))})
    check(source, x=np.float16([-1, 0, 1, 2]))


@pytest.mark.material
@pytest.mark.toolchain
def test_squeezenet_in_half_precision(tmp_path: Path) -> None:
    path = MATERIAL / "imagenet" / "SqueezeNet_fp16.onnx"
    if not path.exists():
        pytest.skip("the model collection is not here")
    # Compiling raises VerificationFailed where the program differs from ONNX Runtime on the fp16 model.
    artifact = edgesmith.compile(path, output=tmp_path / "out", cache=False)
    x = np.random.default_rng(4).uniform(0, 1, (1, 3, 224, 224)).astype(np.float16)
    clean = normalize(path)
    expected = Oracle(clean).run({clean.graph.input[0].name: x})[clean.graph.output[0].name]
    result = artifact(x)
    assert result.dtype == np.float16
    assert result.argmax() == expected.argmax()
