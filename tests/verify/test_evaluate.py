"""The reference of single nodes, and what a program in floats makes of integer sums."""

from __future__ import annotations

import numpy as np
import pytest

from edgesmith.ir import DType, Graph, Node, TensorType
from edgesmith.ops import OPS
from edgesmith.verify.evaluate import Evaluator
from edgesmith.verify.tolerance import float_sum_deviation


@pytest.mark.parametrize("count", [2, 84])
def test_integer_products_do_not_saturate(count: int) -> None:
    """Two products of u8 and s8 can exceed 16 bits, in which some processors' instructions add them."""
    x, w = np.full((1, count), 255, np.uint8), np.full((count, 10), 127, np.int8)
    types = {
        "x": TensorType(x.shape, DType.U8),
        "w": TensorType(w.shape, DType.I8),
        "y": TensorType((1, 10), DType.I32),
    }
    node = Node("product", OPS["MatMulInteger"](), ("x", "w"), ("y",))
    graph = Graph(("x",), ("y",), (node,), types, {"w": w}, "graph")
    (y,) = Evaluator(graph).run(node, [x, w])
    np.testing.assert_array_equal(y, np.full((1, 10), 255 * 127 * count, np.int32))


def test_deviation_of_integer_sums_in_floats_is_what_floats_do() -> None:
    """Dequantised and summed up in f32, one product after the other; zero points as in quantised models."""
    rng = np.random.default_rng(0)
    x, w = rng.integers(0, 256, (40, 300)).astype(np.uint8), rng.integers(-127, 128, (300, 30)).astype(np.int8)
    zero = np.array(117, np.uint8)
    node = Node("product", OPS["MatMulInteger"](), ("x", "w", "zero"), ("y",))
    (sums,) = node.op.reference(x, w, zero)
    scale_x, scale_w = np.float32(0.0173), np.float32(0.00391)
    a = (x.astype(np.float32) - np.float32(117)) * scale_x
    b = w.astype(np.float32) * scale_w
    floats = np.zeros(sums.shape, np.float32)
    for k in range(300):
        floats += a[:, k : k + 1] * b[k]
    errors = floats.astype(np.float64) / (np.float64(scale_x) * np.float64(scale_w)) - sums
    ratio = errors / float_sum_deviation(node, [x, w, zero], sums)
    assert 0.3 < np.sqrt(np.mean(ratio**2)) < 1.0
    assert np.abs(ratio).max() < 4.0


def test_squares_of_the_terms() -> None:
    x, w = np.array([[3, 5]], np.uint8), np.array([[2], [-1]], np.int8)
    product = OPS["MatMulInteger"]()
    (sums,) = product.reference(x, w, np.array(4, np.uint8))
    assert (sums, product.squares(x, w, np.array(4, np.uint8))) == (-1 * 2 + 1 * -1, 4 + 1)
