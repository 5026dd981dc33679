"""Products of signs with binary and ternary weights as integer sums."""

from __future__ import annotations

import numpy as np
import pytest

from edgesmith.ir import DType, Graph
from edgesmith.ops import OPS
from edgesmith.ops.cast import Cast
from edgesmith.ops.conv import Conv
from edgesmith.ops.gemm import Gemm
from edgesmith.ops.integer_products import ConvInteger
from edgesmith.ops.matmul import MatMul
from edgesmith.ops.max_pool import MaxPool
from edgesmith.ops.sign_products import SignConv, SignMatMul
from edgesmith.ops.window import Window
from edgesmith.passes.possible_values import PossibleValues

from .graphs import kinds, optimized
from .quantized import QuantizedSketch


def window(pad: int = 1, rank: int = 2) -> Window:
    return Window(*((n,) * rank for n in (3, 1, pad, pad, 1)))


def where(s: QuantizedSketch, x: str, size: float = 1.0) -> str:
    positive = s.add(OPS["GreaterOrEqual"](), x, s.constant(np.float32(0)))
    return s.add(OPS["Where"](), positive, s.constant(np.float32(size)), s.constant(np.float32(-size)))


def sign(s: QuantizedSketch, x: str) -> str:
    return s.add(OPS["Sign"](), x)


def larq(s: QuantizedSketch, x: str) -> str:
    return sign(s, s.add(OPS["Add"](), sign(s, x), s.constant(np.float32(0.1))))


def brevitas(s: QuantizedSketch, x: str) -> str:
    zero = s.constant(np.float32(0))
    parts = [s.add(Cast(DType.F32), s.add(OPS[name](), x, zero)) for name in ("GreaterOrEqual", "Less")]
    return s.add(OPS["Sub"](), *parts)


def twice_less_one(s: QuantizedSketch, x: str) -> str:
    positive = s.add(Cast(DType.F32), s.add(OPS["Greater"](), x, s.constant(np.float32(0))))
    return s.add(OPS["Sub"](), s.add(OPS["Mul"](), positive, s.constant(np.float32(2))), s.constant(np.float32(1)))


def pooled(s: QuantizedSketch, x: str) -> str:
    return s.add(MaxPool(window()), where(s, x))


def quantized(s: QuantizedSketch, x: str) -> str:
    return s.dq(s.q(where(s, x, 0.5), 0.5, 0, DType.I8), 0.5, 0)


def signs_of_weights(s: QuantizedSketch, *shape: int, ternary: bool = False, axis: int = 0) -> np.ndarray:
    signs = s.rng.integers(-1, 2, shape) if ternary else 2 * s.rng.integers(0, 2, shape) - 1
    along = [-1 if a == axis else 1 for a in range(len(shape))]
    return (signs * s.rng.uniform(0.5, 2, shape[axis]).reshape(along)).astype(np.float32)


@pytest.mark.parametrize(
    ("pattern", "binary"),
    [(where, True), (sign, False), (larq, True), (brevitas, False), (twice_less_one, True), (pooled, True)],
)
@pytest.mark.parametrize("ternary", [False, True])
def test_convolution(pattern, binary: bool, ternary: bool) -> None:
    s = QuantizedSketch()
    x = pattern(s, s.input(2, 5, 6, 7))
    w = s.constant(signs_of_weights(s, 8, 5, 3, 3, ternary=ternary))
    y = s.add(OPS["Relu"](), s.add(Conv(window()), x, w, s.random(8)))
    result, _ = optimized(s.graph(y))
    (product,) = [n for n in result.nodes if isinstance(n.op, SignConv)]
    assert product.op.binary == binary
    assert kinds(result)[-5:] == ["SignConv", "Cast", "Mul", "Add", "Relu"]
    assert result.constants[product.inputs[1]].dtype == np.int8


def test_sums_are_exact() -> None:
    """Zeros among the signs, padding, and channels without any weight."""
    s = QuantizedSketch()
    weights = np.sign(signs_of_weights(s, 6, 5, 3, 3, ternary=True))
    weights[2] = 0
    y = s.add(Conv(window()), sign(s, s.input(1, 5, 6, 7)), s.constant(weights))
    graph = s.graph(y)
    result, _ = optimized(graph)
    given = np.round(np.random.default_rng(0).standard_normal((1, 5, 6, 7)), 0).astype(np.float32)
    assert (given == 0).any()
    np.testing.assert_array_equal(result.reference({"x0": given})[y], graph.reference({"x0": given})[y])


@pytest.mark.parametrize("transposed", [0, 1])
def test_gemm(transposed: int) -> None:
    s = QuantizedSketch()
    shape = (9, 20) if transposed else (20, 9)
    w = s.constant(signs_of_weights(s, *shape, axis=1 - transposed))
    op = Gemm(alpha=0.5, beta=2.0, transB=transposed)
    result, _ = optimized(s.graph(s.add(op, where(s, s.input(3, 20)), w, s.random(9))))
    assert kinds(result)[-4:] == ["SignMatMul", "Cast", "Mul", "Add"]


def test_matmul_of_quantised_signs() -> None:
    s = QuantizedSketch()
    w = s.constant(signs_of_weights(s, 20, 9, axis=1))
    result, _ = optimized(s.graph(s.add(MatMul(), quantized(s, s.input(2, 3, 20)), w)))
    assert any(isinstance(n.op, SignMatMul) for n in result.nodes)


def test_convolution_of_bytes() -> None:
    s = QuantizedSketch()
    w = s.constant(np.sign(signs_of_weights(s, 8, 4, 3, 3, ternary=True)).astype(np.int8))
    y = s.add(ConvInteger(window()), s.q(sign(s, s.input(1, 4, 5, 5)), 1.0, 0, DType.I8), w)
    assert "SignConv" in kinds(optimized(s.graph(y))[0])


def reasons(graph: Graph) -> list[str]:
    result, report = optimized(graph)
    assert not any("Sign" in kind and kind != "Sign" for kind in kinds(result))
    return [why for (rule, _), why in report.skipped.items() if rule == "sign-products"]


def test_what_stays_in_floats() -> None:
    s = QuantizedSketch()
    uneven = signs_of_weights(s, 8, 4, 3, 3)
    uneven[0, 0, 0, 0] *= 1.5
    assert (
        "each output channel"
        in reasons(s.graph(s.add(Conv(window()), where(s, s.input(1, 4, 5, 5)), s.constant(uneven))))[0]
    )
    s = QuantizedSketch()
    grouped = s.add(Conv(window(), 2), where(s, s.input(1, 4, 5, 5)), s.constant(signs_of_weights(s, 8, 2, 3, 3)))
    assert reasons(s.graph(grouped)) == ["2 groups"]
    s = QuantizedSketch()
    line = s.add(Conv(window(rank=1)), where(s, s.input(1, 4, 5)), s.constant(signs_of_weights(s, 8, 4, 3)))
    assert reasons(s.graph(line)) == ["1 spatial axes"]
    s = QuantizedSketch()
    unbounded = s.add(OPS["Mul"](), where(s, s.input(1, 4, 5, 5)), s.input(1, 4, 5, 5))
    assert not reasons(s.graph(s.add(Conv(window()), unbounded, s.constant(signs_of_weights(s, 8, 4, 3, 3)))))


def test_possible_values() -> None:
    s = QuantizedSketch()
    x = s.input(2, 3)
    bits = s.add(Cast(DType.F32), s.add(OPS["Greater"](), x, s.constant(np.float32(0))))
    sums = s.add(OPS["Add"](), bits, s.add(OPS["Neg"](), where(s, x, 3.0)))
    many = s.add(OPS["Add"](), s.constant(np.arange(17, dtype=np.float32).reshape(17, 1, 1)), bits)
    both = s.add(OPS["Concat"](0), bits, where(s, x, 2.0))
    possible = PossibleValues(s.graph(sums, many, both))
    assert possible(sums) == {-3.0, -2.0, 3.0, 4.0}
    assert possible(both) == {0.0, 1.0, -2.0, 2.0}
    assert possible(many) is None
    assert possible(x) is None
