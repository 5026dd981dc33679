"""Graph outputs that no operator computes, through the whole pipeline."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

import edgesmith
from edgesmith.errors import UnsupportedOp

pytestmark = pytest.mark.toolchain

X = np.arange(6, dtype=np.float32).reshape(2, 3) - 2
W = np.float32([[3, 1, 4], [1, 5, 9]])


def model(nodes: list[tuple[str, list[str], str]], *outputs: str) -> ModelProto:
    protos = [helper.make_node(kind, inputs, [output], f"{kind}{i}") for i, (kind, inputs, output) in enumerate(nodes)]
    infos = [helper.make_tensor_value_info(v, TensorProto.FLOAT, (2, 3)) for v in ("x", *outputs)]
    graph = helper.make_graph(protos, "outputs", infos[:1], infos[1:], [numpy_helper.from_array(W, "w")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


RELU = np.maximum(X, 0)


@pytest.mark.parametrize(
    ("nodes", "outputs", "expected"),
    [
        ([("Identity", ["x"], "y")], ["y"], [X]),
        ([("Relu", ["x"], "y")], ["y", "w"], [RELU, W]),
        ([("Identity", ["w"], "y"), ("Relu", ["x"], "z")], ["y", "z"], [W, RELU]),
        ([("Relu", ["w"], "y"), ("Relu", ["x"], "z")], ["y", "z"], [W, RELU]),
        ([("Relu", ["x"], "a"), ("Identity", ["a"], "y"), ("Identity", ["a"], "z")], ["y", "z"], [RELU, RELU]),
        ([("Relu", ["x"], "y"), ("Relu", ["x"], "z")], ["y", "z"], [RELU, RELU]),
        ([("Relu", ["x"], "y"), ("Identity", ["y"], "z"), ("Neg", ["z"], "n")], ["y", "z", "n"], [RELU, RELU, -RELU]),
    ],
    ids=lambda v: "-".join(v) if v and isinstance(v[0], str) else None,
)
def test_outputs(
    nodes: list[tuple[str, list[str], str]], outputs: list[str], expected: list[np.ndarray], tmp_path: Path
) -> None:
    artifact = edgesmith.compile(model(nodes, *outputs), output=tmp_path / "out", cache=False)
    results = artifact(x=X)
    found = results if isinstance(results, dict) else {outputs[0]: results}
    assert list(found) == outputs
    for value, result in zip(outputs, expected, strict=True):
        np.testing.assert_array_equal(found[value], result)


def test_output_that_is_an_input(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedOp, match="the output is an input of the model"):
        edgesmith.compile(model([("Relu", ["x"], "y")], "y", "x"), output=tmp_path / "out", cache=False)
