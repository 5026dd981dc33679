"""Casts to and from bf16: every number, in numpy, in C and in ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import edgesmith
from edgesmith.errors import UnsupportedOp
from edgesmith.export import to_onnx
from edgesmith.frontend.onnx import read
from edgesmith.ir import DType, Graph, Node, TensorType
from edgesmith.ops.cast import Cast
from edgesmith.ops.mul import Mul
from edgesmith.ops.relu import Relu
from edgesmith.oracle import Oracle

EVERY = np.arange(1 << 16, dtype=np.uint32) << 16
"""The bits of every number of bf16, as f32."""


def numbers() -> np.ndarray:
    """Every number of bf16; the ones between, a little nearer to each side, and ties."""
    halves = [EVERY + offset for offset in (0, 0x7FFF, 0x8000, 0x8001, 0xFFFF)]
    return np.concatenate(halves).astype(np.uint32).view(np.float32)


def rounded(graph_input: TensorType) -> Graph:
    """relu(bf16(2 x)), so that the rounding stands between others."""
    nodes = (
        Node("double", Mul(), ("x", "two"), ("twice",)),
        Node("down", Cast(DType.BF16), ("twice",), ("short",)),
        Node("up", Cast(DType.F32), ("short",), ("wide",)),
        Node("relu", Relu(), ("wide",), ("y",)),
    )
    types = dict.fromkeys(("x", "twice", "wide", "y"), graph_input)
    types |= {"short": TensorType(graph_input.shape, DType.BF16), "two": TensorType((), DType.F32)}
    return Graph(("x",), ("y",), nodes, types, {"two": np.asarray(2.0, np.float32)}, "rounded")


def kept(graph_input: TensorType) -> Graph:
    """A value that stays in memory in bf16, because two nodes read it."""
    nodes = (
        Node("down", Cast(DType.BF16), ("x",), ("short",)),
        Node("up", Cast(DType.F32), ("short",), ("y",)),
        Node("count", Cast(DType.I32), ("short",), ("z",)),
    )
    types = {v: TensorType(graph_input.shape, t) for v, t in {"short": DType.BF16, "z": DType.I32}.items()}
    return Graph(("x",), ("y", "z"), nodes, {"x": graph_input, "y": graph_input, **types}, {}, "kept")


def test_reference_is_onnx_runtime() -> None:
    x = numbers()
    graph = rounded(TensorType(x.shape, DType.F32))
    (ours,) = (graph.reference({"x": x})[v] for v in graph.outputs)
    theirs = Oracle(to_onnx(graph)).run({"x": x})["y"]
    np.testing.assert_array_equal(ours, theirs)
    assert np.isnan(ours).any() and np.isinf(ours).any()


@pytest.mark.toolchain
@pytest.mark.parametrize("target", ["portable", "native"])
@pytest.mark.parametrize("make", [rounded, kept])
def test_programs_round_alike(make: object, target: str, tmp_path: Path) -> None:
    x = numbers()
    assert callable(make)
    graph = make(TensorType(x.shape, DType.F32))
    model = to_onnx(graph)
    options = {"target": target, "tune": "off", "cache": False, "verify": False, "name": "rounding"}
    artifact = edgesmith.compile(model, output=tmp_path / "program", **options)
    result = artifact(x=x)
    got = result if isinstance(result, dict) else {"y": result}
    want = graph.reference({"x": x})
    for value in graph.outputs:
        np.testing.assert_array_equal(got[value], want[value])
        if want[value].dtype == np.float32:
            np.testing.assert_array_equal(np.signbit(got[value]), np.signbit(want[value]))


def test_weights_in_bf16_are_read() -> None:
    weights = np.random.default_rng(2).normal(size=(4, 3)).astype(ml_dtypes.bfloat16)
    nodes = [helper.make_node("Cast", ["w"], ["wide"], to=1), helper.make_node("MatMul", ["x", "wide"], ["y"])]
    values = [helper.make_tensor_value_info(v, TensorProto.FLOAT, s) for v, s in (("x", (2, 4)), ("y", (2, 3)))]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], [numpy_helper.from_array(weights, "w")])
    x = np.ones((2, 4), np.float32)
    (y,) = (
        read(helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 21)])).reference({"x": x})[
            v
        ]
        for v in ("y",)
    )
    np.testing.assert_allclose(y, x @ weights.astype(np.float32), rtol=1e-6)


@pytest.mark.parametrize("place", ["input", "output"])
def test_inputs_and_outputs_in_bf16_are_refused(place: str) -> None:
    kinds = (TensorProto.BFLOAT16, TensorProto.FLOAT)
    given, made = kinds if place == "input" else kinds[::-1]
    values = [helper.make_tensor_value_info(v, t, (2,)) for v, t in (("x", given), ("y", made))]
    graph = helper.make_graph([helper.make_node("Cast", ["x"], ["y"], to=made)], "g", values[:1], values[1:])
    with pytest.raises(UnsupportedOp, match="BFLOAT16"):
        read(helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 21)]))
