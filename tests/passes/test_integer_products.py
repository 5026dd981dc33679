"""Products of dequantised operands as integer products."""

from __future__ import annotations

import numpy as np
import pytest

from edgesmith.ir import DType, Graph, Node
from edgesmith.ops.add import Add
from edgesmith.ops.conv import Conv
from edgesmith.ops.gemm import Gemm
from edgesmith.ops.integer_products import ConvInteger, MatMulInteger
from edgesmith.ops.matmul import MatMul
from edgesmith.ops.quantize_by_axis import QuantizeLinearByAxis
from edgesmith.ops.relu import Relu
from edgesmith.ops.reshape import Reshape
from edgesmith.ops.transpose import Transpose
from edgesmith.ops.window import Window
from edgesmith.passes.engine import Skipped
from edgesmith.passes.integer_products import integer_products

from .graphs import kinds
from .quantized import QuantizedSketch, integers

RULE = "integer-products"
SCALED = ["Cast", "Mul", "QuantizeLinear"]


def window(kernel: int = 3, stride: int = 1, pad: int = 1, rank: int = 2) -> Window:
    return Window(*((n,) * rank for n in (kernel, stride, pad, pad, 1)))


def products(graph: Graph) -> list[Node]:
    return [n for n in graph.nodes if isinstance(n.op, ConvInteger | MatMulInteger)]


def chain(graph: Graph) -> list[str]:
    """Kinds after the quantisation of the input."""
    found = kinds(graph)
    return found[1:] if found[0] == "QuantizeLinear" else found


@pytest.mark.parametrize("kind", [DType.U8, DType.I8])
@pytest.mark.parametrize("weights", [DType.U8, DType.I8])
@pytest.mark.parametrize("axis", [0, None])
@pytest.mark.parametrize("group", [1, 4])
def test_conv(kind: DType, weights: DType, axis: int | None, group: int) -> None:
    s = QuantizedSketch(kind=kind)
    x = s.activation(2, 4, 6, 7)
    w = s.weights(8, 4 // group, 3, 3, axis=axis, dtype=weights, zero=120 if weights is DType.U8 else 0)
    y = s.q(s.add(Conv(window(), group), x, w, s.bias(x, w, 8)), 0.1, 7)
    result, _ = integers(s.graph(y))
    assert chain(result) == ["ConvInteger", "Add", *SCALED]
    assert all(result.constants[v].dtype == weights.numpy for v in products(result)[0].inputs[1:2])


def test_asymmetric_weights_of_each_channel() -> None:
    s = QuantizedSketch()
    w = s.constant(s.rng.integers(0, 256, (3, 2, 1, 1)).astype(np.uint8))
    w = s.dq(w, np.array([0.02, 0.01, 0.03]), np.array([3, 128, 250]), 0)
    y = s.q(s.add(Conv(window(1, pad=0)), s.activation(1, 2, 5, 5), w), 0.2, 128)
    result, _ = integers(s.graph(y))
    assert result.constants[products(result)[0].inputs[3]].tolist() == [3, 128, 250]


@pytest.mark.parametrize("rank", [1, 3])
def test_other_numbers_of_spatial_axes(rank: int) -> None:
    s = QuantizedSketch()
    x, w = s.activation(1, 3, *(6,) * rank), s.weights(4, 3, *(3,) * rank)
    result, _ = integers(s.graph(s.q(s.add(Conv(window(rank=rank)), x, w), 0.1, 128)))
    assert chain(result) == ["ConvInteger", *SCALED]


@pytest.mark.parametrize("trans", [0, 1])
@pytest.mark.parametrize("channels", [True, False])
@pytest.mark.parametrize("factors", [(1.0, 1.0), (0.5, 2.0)])
def test_gemm(trans: int, channels: bool, factors: tuple[float, float]) -> None:
    s = QuantizedSketch()
    x = s.activation(5, 12)
    shape, axis = ((7, 12), 0) if trans else ((12, 7), 1)
    w = s.weights(*shape, axis=axis if channels else None)
    gemm = s.add(Gemm(*factors, transA=0, transB=trans), x, w, s.bias(x, w, 7))
    result, _ = integers(s.graph(s.q(gemm, 0.1, 128)))
    assert chain(result) == ["MatMulInteger", "Add", *SCALED]


@pytest.mark.parametrize("shape", [(5, 12), (2, 3, 12)])
@pytest.mark.parametrize("bias", ["float", "dequantised", "one"])
def test_addition_after_a_product_is_its_bias(shape: tuple[int, ...], bias: str) -> None:
    s = QuantizedSketch()
    x = s.activation(*shape)
    w = s.weights(12, 7, axis=1)
    b = {"float": lambda: s.random(7), "dequantised": lambda: s.bias(x, w, 7), "one": lambda: s.random(1)}[bias]()
    result, _ = integers(s.graph(s.q(s.add(Add(), b, s.add(MatMul(), x, w)), 0.1, 128)), float_error=1e-3)
    assert chain(result) == ["MatMulInteger", "Add", *SCALED]
    assert result.constants[result.nodes[2].inputs[1]].dtype == np.int32


def test_addition_that_is_no_bias() -> None:
    s = QuantizedSketch()
    x = s.activation(1, 3, 4, 5)
    y = s.add(Add(), s.add(Conv(window()), x, s.weights(3, 3, 3, 3)), s.random(4, 5))
    result, _ = integers(s.graph(s.q(y, 0.1, 128)))
    assert chain(result) == ["ConvInteger", "Cast", "Mul", "Add", "QuantizeLinear"]


def test_bias_beyond_32_bits_is_added_to_the_scaled_sum() -> None:
    s = QuantizedSketch()
    x, w = s.activation(1, 3, 4, 5), s.weights(2, 3, 3, 3, scale=1e-9)
    result, _ = integers(s.graph(s.q(s.add(Conv(window()), x, w, s.constant([4.0, -3.0])), 0.1, 128)))
    assert chain(result) == ["ConvInteger", "Cast", "Mul", "Add", "QuantizeLinear"]


def test_weights_shared_by_two_products() -> None:
    s = QuantizedSketch()
    w = s.weights(3, 3, 3, 3)
    outputs = [s.q(s.add(Conv(window()), s.activation(1, 3, 6, 6, scale=f), w), 0.1, 128) for f in (0.05, 0.03)]
    result, _ = integers(s.graph(*outputs))
    first, second = products(result)
    assert first.inputs[1] == second.inputs[1]


def test_dequantised_value_read_by_several() -> None:
    s = QuantizedSketch()
    x = s.activation(1, 3, 6, 6)
    ys = [s.q(s.add(Conv(window()), x, s.weights(4, 3, 3, 3)), 0.1, 128) for _ in range(2)]
    relu = s.add(Relu(), x)
    result, _ = integers(s.graph(*ys, relu))
    assert len(products(result)) == 2 and "Relu" in kinds(result)


def test_sums_as_a_graph_output() -> None:
    s = QuantizedSketch()
    y = s.add(Conv(window()), s.activation(1, 3, 6, 6), s.weights(4, 3, 3, 3))
    result, _ = integers(s.graph(y))
    assert chain(result) == ["ConvInteger", "Cast", "Mul"]


def test_movement_of_weights_and_of_the_input() -> None:
    s = QuantizedSketch()
    x = s.add(Reshape((1, 4, 3, 5)), s.activation(1, 60))
    w = s.add(Transpose((3, 2, 0, 1)), s.weights(3, 3, 4, 6, axis=3))
    flat = s.add(Reshape((1, 90)), s.add(Conv(window()), x, w))
    flat = s.qdq(flat, 0.1)
    second = s.add(Reshape((90, 5)), s.weights(3, 30, 5, axis=2))
    result, _ = integers(s.graph(s.q(s.add(MatMul(), flat, second), 0.5, 128)), layers=2)
    assert [n.op.name for n in products(result)] == ["ConvInteger", "MatMulInteger"]
    assert not any(n.op.name.startswith("Dequantize") for n in result.nodes)


def test_fake_quantised_float_weights() -> None:
    """As PyTorch exports models that were trained with quantisation: Q and DQ of float weights."""
    s = QuantizedSketch()
    w = s.dq(s.q(s.random(4, 3, 3, 3), 0.01, 0, DType.I8), 0.01, 0)
    result, _ = integers(s.graph(s.q(s.add(Conv(window()), s.activation(1, 3, 6, 6), w), 0.1, 128)))
    assert chain(result) == ["ConvInteger", *SCALED]


def _float_input(s: QuantizedSketch) -> str:
    return s.add(Conv(window()), s.input(1, 3, 6, 6), s.weights(4, 3, 3, 3))


def _input_by_channel(s: QuantizedSketch) -> str:
    x = s.constant(np.full(3, 0.05)), s.constant(np.full(3, 128, np.uint8))
    bytes_ = s.add(QuantizeLinearByAxis(1), s.input(1, 3, 6, 6), *x)
    return s.add(Conv(window()), s.dq(bytes_, np.full(3, 0.05), np.full(3, 128), 1), s.weights(4, 3, 3, 3))


def _unsigned(s: QuantizedSketch) -> str:
    return s.add(Conv(window()), s.activation(1, 3, 6, 6), s.weights(4, 3, 3, 3, dtype=DType.U16, scale=1e-5))


def _shifted(s: QuantizedSketch) -> str:
    weights = s.weights(4, 3, 3, 3, dtype=DType.I16, scale=1e-5, zero=7)
    return s.add(Conv(window()), s.activation(1, 3, 6, 6), weights)


def _other_axis(s: QuantizedSketch) -> str:
    return s.add(Conv(window()), s.activation(1, 3, 6, 6), s.weights(4, 3, 3, 3, axis=1))


def _tiny(s: QuantizedSketch) -> str:
    return s.add(Conv(window()), s.activation(1, 3, 6, 6), s.weights(4, 3, 3, 3, scale=1e-38))


def _transposed(s: QuantizedSketch) -> str:
    return s.add(Gemm(transA=1), s.activation(6, 5), s.weights(6, 4, axis=1))


def _stack(s: QuantizedSketch) -> str:
    return s.add(MatMul(), s.activation(2, 5, 6), s.weights(2, 6, 4, axis=None))


def _run_time(s: QuantizedSketch) -> str:
    return s.add(MatMul(), s.activation(5, 6), s.activation(6, 4))


def _by_row(s: QuantizedSketch) -> str:
    return s.add(Gemm(), s.activation(5, 6), s.weights(6, 4, axis=1), s.random(5, 1))


def _run_time_bias(s: QuantizedSketch) -> str:
    return s.add(Gemm(), s.activation(5, 6), s.weights(6, 4, axis=1), s.input(4))


def _i16(s: QuantizedSketch, *shape: int) -> str:
    return s.dq(s.q(s.input(*shape), 1e-3, 0, DType.I16), 1e-3, 0)


def _long(s: QuantizedSketch) -> str:
    return s.add(MatMul(), _i16(s, 1, 200_000), s.weights(200_000, 2, axis=1, dtype=DType.I16, scale=1e-5))


REASONS = {
    _float_input: "its input is not quantised",
    _input_by_channel: "a scale for each channel",
    _unsigned: "products of u8 and u16",
    _shifted: "16-bit weights have a zero point",
    _other_axis: "axis 1 of the weights",
    _tiny: "not a normal number",
    _transposed: "its input is transposed",
    _stack: "weights are no matrix",
    _run_time: "second operand is computed at run time",
    _by_row: "differs from row to row",
    _run_time_bias: "its bias is computed at run time",
    _long: "beyond what kernels hold",
}


@pytest.mark.parametrize(
    ("length", "x", "weights", "wide"),
    [
        (40, DType.I16, DType.I8, False),
        (4000, DType.I16, DType.I8, True),
        (40, DType.I16, DType.I16, True),
    ],
)
def test_sums_beyond_32_bits_are_wide(length: int, x: DType, weights: DType, wide: bool) -> None:
    s = QuantizedSketch()
    given = _i16(s, 1, length) if x is DType.I16 else s.activation(1, length)
    y = s.add(Gemm(), given, s.weights(length, 2, axis=1, dtype=weights, scale=1e-5), s.random(2))
    result, _ = integers(s.graph(y))
    (product,) = products(result)
    assert isinstance(product.op, MatMulInteger)
    assert product.op.wide == wide
    sums = DType.I64 if wide else DType.I32
    assert result.type(product.outputs[0]).dtype is sums
    bias = next(n for n in result.nodes if n.op.name == "Add")
    assert result.type(bias.outputs[0]).dtype is sums


@pytest.mark.parametrize("build", REASONS, ids=lambda f: f.__name__.strip("_"))
def test_reasons_for_floats(build) -> None:  # type: ignore[no-untyped-def]
    s = QuantizedSketch()
    y = s.q(build(s), 0.25, 128)
    graph = s.graph(y)
    left = {found.node: found.reason for found in integer_products(graph) if isinstance(found, Skipped)}
    result, _ = integers(graph, only=frozenset((RULE, "fold-constants")))
    assert not products(result)
    (node,) = [n for n in result.nodes if n.op.name in ("Conv", "Gemm", "MatMul")]
    assert REASONS[build] in left[node.name]
    if build is not _run_time:
        assert node.inputs[1] in result.constants, "weights are dequantised in every run"
