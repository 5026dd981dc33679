"""MaxPool where its input holds NaN and infinities."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper

from edgesmith import api
from edgesmith.ops.max_pool import MaxPool
from edgesmith.ops.window import Window

pytestmark = pytest.mark.toolchain

LOWEST = np.finfo(np.float32).min


def pools() -> ModelProto:
    """Small windows, and the whole input as one, over 32 channels of 4x4."""
    nodes = [
        helper.make_node("MaxPool", ["x"], ["windows"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("GlobalMaxPool", ["x"], ["whole"]),
    ]
    x, windows, whole = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 32, n, n))
        for name, n in (("x", 4), ("windows", 2), ("whole", 1))
    )
    graph = helper.make_graph(nodes, "pools", [x], [windows, whole])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@pytest.mark.parametrize("target", ["portable", "native"])
def test_nan_is_no_maximum_whatever_kernel_computes_it(target: str, tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((1, 32, 4, 4)).astype(np.float32)
    x[0, 0, :, 0] = np.nan
    x[0, 1] = np.nan
    x[0, 2] = -np.inf
    x[0, 3, 3, 3] = np.inf
    artifact = api.compile(pools(), output=tmp_path / "out", target=target, verify=False)
    found = artifact(x)
    assert isinstance(found, dict)
    usable = np.where(np.isnan(x), LOWEST, np.maximum(x, LOWEST))
    (reference,) = MaxPool(Window((2, 2), (2, 2), (0, 0), (0, 0), (1, 1))).reference(x)
    np.testing.assert_array_equal(found["windows"], reference)
    np.testing.assert_array_equal(found["whole"], usable.max(axis=(2, 3), keepdims=True))
    np.testing.assert_array_equal(found["windows"], usable.reshape(1, 32, 2, 2, 2, 2).max(axis=(3, 5)))
