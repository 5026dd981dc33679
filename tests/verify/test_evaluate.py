"""The reference of single nodes."""

from __future__ import annotations

import numpy as np
import pytest

from edgesmith.ir import DType, Graph, Node, TensorType
from edgesmith.ops import OPS
from edgesmith.verify.evaluate import Evaluator


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
