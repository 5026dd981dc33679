"""Weights of 4 bits in ONNX models: read as they are written, and what is malformed is refused."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgesmith.errors import EdgesmithError
from edgesmith.frontend.onnx import read
from edgesmith.ops.block_scales import BlockMatMul, DequantizeLinearByBlock
from edgesmith.oracle import Oracle
from edgesmith.passes import optimize

INPUTS, CHANNELS = 64, 20


def model(
    kind: str, block: int, *, axis: int = 0, zeros: bool = False, scales: tuple[int, ...] | None = None
) -> onnx.ModelProto:
    rng = np.random.default_rng(4)
    low, high = (-8, 8) if kind == "int4" else (0, 16)
    dtype = getattr(ml_dtypes, kind)
    blocks = scales or (-(-INPUTS // block), CHANNELS)
    given = [
        numpy_helper.from_array(rng.integers(low, high, (INPUTS, CHANNELS)).astype(dtype), "w"),
        numpy_helper.from_array(rng.uniform(0.01, 0.1, blocks).astype(np.float32), "s"),
    ]
    if zeros:
        given.append(numpy_helper.from_array(rng.integers(low, high, blocks).astype(dtype), "z"))
    nodes = [
        helper.make_node("DequantizeLinear", [t.name for t in given], ["f"], "dq", axis=axis, block_size=block),
        helper.make_node("MatMul", ["x", "f"], ["y"], "product"),
    ]
    x, y = (
        helper.make_tensor_value_info(n, TensorProto.FLOAT, [3, size]) for n, size in (("x", INPUTS), ("y", CHANNELS))
    )
    graph = helper.make_graph(nodes, "blocks", [x], [y], given)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


@pytest.mark.parametrize("kind", ["int4", "uint4"])
@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("block", [16, 32])
def test_agrees_with_onnx_runtime(kind: str, zeros: bool, block: int) -> None:
    given = model(kind, block, zeros=zeros)
    graph = read(given)
    assert any(isinstance(n.op, DequantizeLinearByBlock) for n in graph.nodes)
    result, _ = optimize(graph)
    assert [type(n.op) for n in result.nodes] == [BlockMatMul]
    x = np.random.default_rng(5).standard_normal((3, INPUTS)).astype(np.float32)
    (want,) = Oracle(given, optimized=False).run({"x": x}).values()
    np.testing.assert_allclose(result.reference({"x": x})["y"], want, rtol=0, atol=1e-5 * np.abs(want).max())


@pytest.mark.parametrize(
    "bad",
    [
        model("int4", 16, axis=2),
        model("int4", 16, axis=1),
        model("int4", 16, scales=(3, CHANNELS)),
        model("int4", 16, scales=(4, CHANNELS, 1)),
    ],
    ids=["axis beyond the rank", "axis of another extent", "too few scales", "rank"],
)
def test_scales_that_do_not_fit(bad: onnx.ModelProto) -> None:
    with pytest.raises(EdgesmithError) as error:
        read(bad)
    assert "scale" in str(error.value) or "axis" in str(error.value)
