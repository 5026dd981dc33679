from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper

from edgesmith.errors import BadInput, ModelError, UnsupportedOp
from edgesmith.frontend.normalize import normalize

from .onnx_models import assert_normal, build, run_model


def add(*shapes: list[int | str] | None, opset: int = 17) -> ModelProto:
    """``y = a + b`` of inputs with the given shapes."""
    model = build([helper.make_node("Add", ["a", "b"], ["y"], name="add")], {"a": [], "b": []}, ["y"], opset=opset)
    for value, shape in zip(model.graph.input, shapes, strict=True):
        value.CopyFrom(helper.make_tensor_value_info(value.name, TensorProto.FLOAT, shape))
    return model


def dims(model: ModelProto) -> dict[str, list[int]]:
    values = [*model.graph.input, *model.graph.output]
    return {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in values}


def test_symbol_is_shared_between_inputs() -> None:
    result = normalize(add(["n", 3], ["n", 3]), shapes={"a": (5, 3)})
    assert dims(result) == {"a": [5, 3], "b": [5, 3], "y": [5, 3]}


def test_symbol_is_fixed_by_a_binding() -> None:
    result = normalize(add(["n", 3], ["n", 3]), bindings={"a": np.ones((4, 3), np.float32)})
    assert dims(result) == {"b": [4, 3], "y": [4, 3]}


@pytest.mark.parametrize("unknown", ["n", -1])
def test_every_open_input_is_listed(unknown: str | int) -> None:
    with pytest.raises(BadInput) as caught:
        normalize(add([unknown, 3, 8, 8], ["m", 3, 8, "w"]))
    assert "a (" in caught.value.why and "b (m, 3, 8, w)" in caught.value.why
    assert "--shape a=1,3,8,8 --shape b=1,3,8,224" in caught.value.hint


def test_unknown_rank() -> None:
    with pytest.raises(BadInput, match="unknown rank"):
        normalize(add(None, [3]))
    assert dims(normalize(add(None, [3]), shapes={"a": (2, 3)}))["y"] == [2, 3]


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"z": (1, 3)}, "'z' is not an input.*\n.*'a', 'b'"),
        ({"a": (1, 3, 1)}, "has 3 dimensions.*has 2"),
        ({"a": (1, 4)}, r"contradicts the model's \(n, 3\)"),
        ({"a": (1, 3), "b": (2, 3)}, "'n' is 2.*1 in another"),
        ({"a": (-1, 3)}, "out of range"),
        ({"a": (1.5, 3)}, "not a shape"),
        ({"a": 7}, "not a shape"),
        ({"a": (1 << 62, 3), "b": (1 << 62, 3)}, "GiB"),
    ],
)
def test_wrong_shapes(shapes: dict[str, tuple[int, ...]], message: str) -> None:
    with pytest.raises(Exception, match=message) as caught:
        normalize(add(["n", 3], ["n", 3]), shapes=shapes)
    assert isinstance(caught.value, BadInput) or "GiB" in message


@pytest.mark.parametrize(
    ("bindings", "message"),
    [
        ({"z": np.ones(3, np.float32)}, "'z' is not an input"),
        ({"a": np.ones((2, 4), np.float32)}, "contradicts"),
        ({"a": np.array([["x", "y", "z"]])}, "STRING.*FLOAT|not a tensor"),
        ({"a": np.full((1, 3), 2**60 + 1)}, "INT64.*FLOAT"),
        ({"a": [object()]}, "not a tensor"),
    ],
)
def test_wrong_bindings(bindings: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        normalize(add(["n", 3], [3]), bindings=bindings)


def test_binding_is_converted_when_its_values_survive() -> None:
    result = normalize(add([3], [3]), bindings={"a": np.array([1, 2, 3])})
    np.testing.assert_array_equal(run_model(result, {"b": np.zeros(3, np.float32)})[0], [1, 2, 3])


def test_bound_shape_makes_reshape_static() -> None:
    model = build([helper.make_node("Reshape", ["x", "s"], ["y"])], {"x": [2, 6]}, ["y"])
    model.graph.input.append(helper.make_tensor_value_info("s", TensorProto.INT64, ["rank"]))
    with pytest.raises(BadInput, match="rank"):
        normalize(model)
    with pytest.raises(UnsupportedOp, match="--bind"):
        normalize(model, shapes={"s": (2,)})
    result = normalize(model, bindings={"s": np.array([3, -1])})
    assert_normal(result)
    assert dims(result) == {"x": [2, 6], "y": [3, 4]}


def test_initialiser_listed_as_input_becomes_a_constant_unless_bound() -> None:
    model = build(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        {"x": [2], "w": [2]},
        ["y"],
        {"w": np.ones(2, np.float32)},
        ir_version=3,
    )
    zero = {"x": np.zeros(2, np.float32)}
    result = normalize(model)
    assert [value.name for value in result.graph.input] == ["x"]
    np.testing.assert_array_equal(run_model(result, zero)[0], [1, 1])
    bound = normalize(model, bindings={"w": np.array([5, 6], np.float32)})
    np.testing.assert_array_equal(run_model(bound, zero)[0], [5, 6])
    with pytest.raises(BadInput, match="initialiser"):
        normalize(model, shapes={"w": (2,)})


def test_initialiser_that_contradicts_its_input() -> None:
    node = helper.make_node("Add", ["x", "w"], ["y"])
    model = build([node], {"x": [2], "w": [3]}, ["y"], {"w": np.ones(2, np.float32)})
    with pytest.raises(ModelError, match=r"'w'.*FLOAT of shape \(2,\), declared as FLOAT \(3\)"):
        normalize(model)


def test_order_and_names_survive_and_unused_inputs_stay(tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", ["b"], ["second"]), helper.make_node("Neg", ["b"], ["first"])]
    result = normalize(build(nodes, {"c": [1], "b": [2], "a": [3]}, ["first", "second"]))
    assert [value.name for value in result.graph.input] == ["c", "b", "a"]
    assert [value.name for value in result.graph.output] == ["first", "second"]


def test_input_that_is_not_a_tensor_or_absurd() -> None:
    model = add([3], [3])
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -7
    with pytest.raises(ModelError, match="-7"):
        normalize(model)
    sequence = helper.make_tensor_sequence_value_info("a", TensorProto.FLOAT, [3])
    model.graph.input[0].CopyFrom(sequence)
    with pytest.raises(UnsupportedOp, match="sequence"):
        normalize(model)
