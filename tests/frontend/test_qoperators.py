"""QOperator models as QDQ models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edgesmith.errors import ModelError, UnsupportedOp
from edgesmith.frontend.worker import clean

from .onnx_models import run_model

VENDOR = "com.microsoft"
RNG = np.random.default_rng(2)
U8, I8 = np.uint8, np.int8
Q = {U8: (0.05, 120), I8: (0.05, -7)}


def model(
    nodes: Sequence[NodeProto],
    inputs: Mapping[str, np.ndarray],
    constants: Mapping[str, np.ndarray],
    output: int = TensorProto.UINT8,
    opset: int = 17,
) -> ModelProto:
    graph = helper.make_graph(
        nodes,
        "quantised",
        [
            helper.make_tensor_value_info(v, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for v, a in inputs.items()
        ],
        [helper.make_tensor_value_info("y", output, None)],
        [numpy_helper.from_array(np.asarray(a), v) for v, a in constants.items()],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid(VENDOR, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def normalize(source: ModelProto) -> ModelProto:
    """As ``edgesmith.frontend.normalize``, in this process."""
    return clean(source.SerializeToString(), folder=None, shapes={}, bindings=()).model


def draw(dtype: type[np.generic], *shape: int) -> np.ndarray:
    """Integers; i8 of 7 bits, as ONNX Runtime's sums of pairs saturate on processors without VNNI."""
    low, high = (0, 256) if dtype is U8 else (-64, 64)
    return RNG.integers(low, high, shape).astype(dtype)


def scale(*values: float) -> np.ndarray:
    return np.array(values if len(values) > 1 else values[0], np.float32)


def check(source: ModelProto, feeds: Mapping[str, np.ndarray], *, share: float = 0.1) -> ModelProto:
    """The normalised model, whose integers are ONNX Runtime's for the source but for a share, one step away."""
    result = normalize(source)
    assert all(not node.domain and "QLinear" not in node.op_type for node in result.graph.node)
    assert [v.name for v in result.graph.output] == ["y"]
    (want,), (got,) = run_model(source, feeds), run_model(result, feeds)
    assert got.dtype == want.dtype and got.shape == want.shape
    difference = np.abs(got.astype(np.float64) - want.astype(np.float64))
    if want.dtype.kind == "f":
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
    else:
        assert difference.max(initial=0) <= 1 and difference.mean() <= share
    return result


def node(kind: str, inputs: Sequence[str], domain: str = VENDOR, **attributes: object) -> NodeProto:
    return helper.make_node(kind, inputs, ["y"], "the node", domain=domain, **attributes)


@pytest.mark.parametrize("by_channel", [True, False])
@pytest.mark.parametrize("kind", [U8, I8])
@pytest.mark.parametrize("opset", [10, 12, 13, 21])
def test_conv(by_channel: bool, kind: type[np.generic], opset: int) -> None:
    x = draw(kind, 1, 4, 7, 8)
    channels = RNG.uniform(0.01, 0.03, 6).astype(np.float32)
    constants = {
        "xs": scale(0.05),
        "xz": kind(Q[kind][1]),
        "w": draw(I8, 6, 4, 3, 3),
        "ws": channels if by_channel else scale(0.02),
        "wz": np.zeros(6 if by_channel else (), I8),
        "ys": scale(0.2),
        "yz": kind(5),
        "b": RNG.integers(-2000, 2000, 6).astype(np.int32),
    }
    inputs = ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"]
    conv = node("QLinearConv", inputs, "", strides=[2, 1], pads=[1, 1, 0, 1])
    output = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    result = check(model([conv], {"x": x}, constants, output, opset), {"x": x})
    kinds = [n.op_type for n in result.graph.node]
    assert sorted(kinds) == ["Conv", "DequantizeLinear", "DequantizeLinear", "DequantizeLinear", "QuantizeLinear"]
    assert next(n.name for n in result.graph.node if n.op_type == "Conv") == "the node"


@pytest.mark.parametrize("by_column", [True, False])
def test_matmul(by_column: bool) -> None:
    a = draw(U8, 2, 5, 12)
    constants = {
        "as": scale(0.05),
        "az": U8(7),
        "b": draw(I8, 12, 4),
        "bs": scale(0.01, 0.02, 0.03, 0.04) if by_column else scale(0.02),
        "bz": np.zeros(4 if by_column else (), I8),
        "ys": scale(0.2917),
        "yz": U8(99),
    }
    matmul = node("QLinearMatMul", ["a", "as", "az", "b", "bs", "bz", "ys", "yz"], "")
    check(model([matmul], {"a": a}, constants), {"a": a})


@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("by_channel", [True, False])
@pytest.mark.parametrize("floats", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_gemm(transposed: int, by_channel: bool, floats: bool, bias: bool) -> None:
    a = draw(U8, 5, 12)
    constants = {
        "as": scale(0.05),
        "az": U8(7),
        "b": draw(I8, *((4, 12) if transposed else (12, 4))),
        "bs": scale(0.01, 0.02, 0.03, 0.04) if by_channel else scale(0.02),
        "bz": np.zeros(4 if by_channel else (), I8),
        "ys": scale(0.2917),
        "yz": U8(99),
        "c": np.array([100, -500, 2000, 4], np.int32),
    }
    inputs = ["a", "as", "az", "b", "bs", "bz", "c" if bias else "", *(() if floats else ("ys", "yz"))]
    output = TensorProto.FLOAT if floats else TensorProto.UINT8
    check(model([node("QGemm", inputs, transB=transposed, alpha=1.0)], {"a": a}, constants, output), {"a": a})


@pytest.mark.parametrize("kind", ["QLinearAdd", "QLinearMul"])
@pytest.mark.parametrize("constant", [True, False])
def test_binary(kind: str, constant: bool) -> None:
    a, b = draw(U8, 2, 3, 4), draw(U8, 3, 1)
    constants = {"as": scale(0.05), "az": U8(7), "bs": scale(0.03), "bz": U8(99), "ys": scale(0.0973), "yz": U8(30)}
    inputs = {"a": a, **({} if constant else {"b": b})}
    constants |= {"b": b} if constant else {}
    check(model([node(kind, ["a", "as", "az", "b", "bs", "bz", "ys", "yz"])], inputs, constants), inputs)


def test_missing_zero_point_is_a_zero_of_the_operands_type() -> None:
    a = draw(I8, 2, 3)
    constants = {"as": scale(0.05), "az": I8(3), "ys": scale(0.07)}
    # ONNX Runtime crashes on this one.
    result = normalize(model([node("QLinearSigmoid", ["a", "as", "az", "ys"])], {"a": a}, constants, TensorProto.INT8))
    (got,) = run_model(result, {"a": a})
    value = 1 / (1 + np.exp(-(a.astype(np.float64) - 3) * 0.05))
    np.testing.assert_array_equal(got, np.rint(value / 0.07).astype(np.int8))


def test_concat_and_where() -> None:
    a, b, c = draw(U8, 1, 2, 3), draw(U8, 1, 4, 3), RNG.random((1, 2, 3)) < 0.5
    constants = {"as": scale(0.05), "az": U8(7), "bs": scale(0.03), "bz": U8(99), "ys": scale(0.06), "yz": U8(30)}
    concat = node("QLinearConcat", ["ys", "yz", "a", "as", "az", "b", "bs", "bz"], axis=1)
    check(model([concat], {"a": a, "b": b}, constants), {"a": a, "b": b})
    where = node("QLinearWhere", ["c", "a", "as", "az", "d", "bs", "bz", "ys", "yz"])
    feeds = {"c": c, "a": a, "d": draw(U8, 1, 2, 3)}
    check(model([where], feeds, constants), feeds)


UNARY = {
    "QLinearSigmoid": {},
    "QLinearLeakyRelu": {"alpha": 0.2},
    "QLinearGlobalAveragePool": {},
    "QLinearAveragePool": {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2]},
    "QLinearSoftmax": {"axis": -1, "opset": 13},
}


@pytest.mark.parametrize("kind", UNARY)
@pytest.mark.parametrize("opset", [12, 17, 18])
def test_one_operand(kind: str, opset: int) -> None:
    x = draw(U8, 1, 3, 6, 6)
    constants = {"xs": scale(0.05), "xz": U8(120), "ys": scale(1 / 255), "yz": U8(2)}
    source = model([node(kind, ["x", "xs", "xz", "ys", "yz"], **UNARY[kind])], {"x": x}, constants, opset=opset)
    # ONNX Runtime's Softmax adds exponentials that are rounded to integers.
    check(source, {"x": x}, share=0.25 if kind == "QLinearSoftmax" else 0.1)


def test_products_with_float_results() -> None:
    a, x = draw(U8, 5, 12), RNG.standard_normal((5, 12)).astype(np.float32)
    constants = {
        "as": scale(0.05),
        "az": U8(7),
        "b": draw(I8, 12, 4),
        "bs": scale(0.01, 0.02, 0.03, 0.04),
        "bz": I8([0, 1, -2, 3]),
        "c": scale(1, 2, 3, 4),
    }
    product = node("MatMulIntegerToFloat", ["a", "b", "as", "bs", "az", "bz", "c"])
    check(model([product], {"a": a}, constants, TensorProto.FLOAT), {"a": a})
    dynamic = node("DynamicQuantizeMatMul", ["x", "b", "bs", "bz", "c"])
    check(model([dynamic], {"x": x}, constants, TensorProto.FLOAT), {"x": x})


def test_one_conversion_for_all_readers() -> None:
    x = draw(U8, 2, 3)
    constants = {"s": scale(0.05), "z": U8(7)}
    first = helper.make_node("QLinearAdd", ["x", "s", "z", "x", "s", "z", "s", "z"], ["m"], domain=VENDOR)
    second = node("QLinearMul", ["x", "s", "z", "m", "s", "z", "s", "z"])
    result = check(model([first, second], {"x": x}, constants), {"x": x}, share=0.5)
    assert [n.op_type for n in result.graph.node].count("DequantizeLinear") == 2


CONSTANTS = {"s": scale(0.05), "z": U8(7), "ss": scale(0.1, 0.2, 0.3)}
REFUSED = {
    "QAttention": (["x"], {}, 17, "com.microsoft.QAttention is not part"),
    "QLinearAveragePool": (["x", "s", "z", "s", "z"], {"channels_last": 1}, 17, "channels last"),
    "QLinearAdd": (["x", "ss", "z", "x", "s", "z", "s", "z"], {}, 17, "scale for each channel"),
    "QLinearMul": (["x", "s", "z", "x", "s", "z", "ss", "z"], {}, 17, "its result has a scale for each channel"),
    "QLinearSoftmax": (["x", "s", "z", "s", "z"], {"axis": 1, "opset": 12}, 17, "follows opset 12 on axis 1"),
    "QGemm": (["x", "s", "z", "x", "ss", "z", "", "s", "z"], {}, 12, "need opset 13"),
    "QLinearSigmoid": (["x", "s"], {}, 17, "2 inputs, which is too few"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_refused(kind: str) -> None:
    inputs, attributes, opset, reason = REFUSED[kind]
    source = model([node(kind, inputs, **attributes)], {"x": draw(U8, 3, 3)}, CONSTANTS, opset=opset)
    with pytest.raises((UnsupportedOp, ModelError), match=reason) as caught:
        normalize(source)
    assert "the node" in str(caught.value)


def test_models_without_quantised_operators_are_left() -> None:
    x = np.zeros((2, 3), np.float32)
    result = normalize(model([node("Relu", ["x"], "")], {"x": x}, {}, TensorProto.FLOAT))
    assert [n.op_type for n in result.graph.node] == ["Relu"] and isinstance(result, onnx.ModelProto)
