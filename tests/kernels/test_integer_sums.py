"""Integer sums that more than the bias reads."""

from __future__ import annotations

import numpy as np
import pytest

from edgesmith.ir import DType, Graph, Node, TensorType
from edgesmith.kernels import KERNELS, Problem
from edgesmith.ops import OPS
from edgesmith.ops.cast import Cast
from edgesmith.ops.integer_products import MatMulInteger
from edgesmith.target import parse
from edgesmith.toolchain import zig
from edgesmith.tune.trial import Trial, TrialLibrary

from .problems import feeds, places

pytestmark = pytest.mark.toolchain


def doubled(biased_first: bool) -> Graph:
    """f32(sums + bias) + f32(sums), with the readers of the sums in either order."""
    rng = np.random.default_rng(1)
    constants = {
        "w": rng.integers(-127, 128, (12, 20)).astype(np.int8),
        "bias": rng.integers(-999, 999, 20).astype(np.int32),
    }
    sums = TensorType((6, 20), DType.I32)
    real = TensorType((6, 20), DType.F32)
    readers = [
        Node("add bias", OPS["Add"](), ("sums", "bias"), ("biased",)),
        Node("cast sums", Cast(DType.F32), ("sums",), ("plain",)),
    ]
    nodes = (
        Node("product", MatMulInteger(), ("x", "w"), ("sums",)),
        *(readers if biased_first else readers[::-1]),
        Node("cast", Cast(DType.F32), ("biased",), ("steps",)),
        Node("add", OPS["Add"](), ("steps", "plain"), ("y",)),
    )
    types = {
        "x": TensorType((6, 12), DType.U8),
        **{v: TensorType.of(a) for v, a in constants.items()},
        **dict.fromkeys(("sums", "biased"), sums),
        **dict.fromkeys(("plain", "steps", "y"), real),
    }
    return Graph(("x",), ("y",), nodes, types, constants)


@pytest.mark.parametrize("biased_first", [True, False])
def test_every_region_is_computed_or_refused(biased_first: bool) -> None:
    graph, target, kernel = doubled(biased_first), parse("native"), KERNELS["integer-tiles"]
    where, given = places(graph, "row_major"), feeds(graph)
    expected = graph.reference(given)
    problems = [Problem(graph, region, where, target) for region in kernel.regions(graph, graph.nodes[0])]
    taken = [p for p in problems if kernel.accepts(p) is None]
    assert taken
    library = TrialLibrary([Trial(p, kernel, kernel.schedules(p)[0]) for p in taken], target, zig(), ("-O1",))
    for i in range(len(taken)):
        for value, result in library.run(i, given).items():
            np.testing.assert_array_equal(result, expected[value])
