"""The sliding window: output extents against ONNX Runtime, errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesmith.errors import ModelError, UnsupportedOp

from .single_node import SingleNode


@settings(max_examples=300, deadline=None)
@given(st.data(), st.booleans(), st.integers(1, 6), st.integers(1, 5), st.integers(1, 3))
def test_output_extent(data: st.DataObject, ceil: bool, kernel: int, stride: int, dilation: int) -> None:
    begin, end = (data.draw(st.integers(0, kernel - 1)) for _ in range(2))
    reach = (kernel - 1) * dilation + 1
    n = data.draw(st.integers(max(1, reach - begin - end), reach + 12))
    attributes = {
        "kernel_shape": [kernel],
        "strides": [stride],
        "dilations": [dilation],
        "pads": [begin, end],
        "ceil_mode": int(ceil),
    }
    case = SingleNode("MaxPool", attributes, [np.zeros((1, 1, n), np.float32)])
    assert case.graph.type("y0").shape == case.expected()[0].shape


@pytest.mark.parametrize(
    "attributes",
    [
        {"kernel_shape": [5, 5]},
        {"kernel_shape": [2, 2], "strides": [0, 1]},
        {"kernel_shape": [2]},
        {"kernel_shape": [2, 2], "pads": [0, 0, -1, 0]},
        {"kernel_shape": [2, 2], "pads": [1, 1]},
        {},
    ],
)
def test_windows_that_do_not_fit_are_refused(attributes: dict[str, object]) -> None:
    with pytest.raises(ModelError):
        _ = SingleNode("AveragePool", attributes, [np.zeros((1, 2, 4, 4), np.float32)]).graph


@pytest.mark.parametrize(
    "attributes",
    [
        {"kernel_shape": [3, 3], "auto_pad": "SAME_UPPER", "dilations": [2, 2]},
        {"kernel_shape": [1, 1], "auto_pad": "SAME_LOWER", "strides": [3, 3]},
    ],
)
def test_auto_pad_that_onnx_runtime_reads_differently_is_refused(attributes: dict[str, object]) -> None:
    with pytest.raises(UnsupportedOp, match="auto_pad"):
        _ = SingleNode("MaxPool", attributes, [np.zeros((1, 2, 6, 6), np.float32)]).graph


@pytest.mark.parametrize("op_type", ["GlobalMaxPool", "GlobalLpPool"])
@pytest.mark.parametrize("shape", [(2, 3, 4), (1, 2, 3, 5), (1, 2, 2, 3, 2)])
def test_global_pools_have_a_window_as_large_as_the_input(op_type: str, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).standard_normal(shape, np.float32)
    case, axes = SingleNode(op_type, {}, [x]), tuple(range(2, x.ndim))
    if op_type == "GlobalMaxPool":
        np.testing.assert_array_equal(case.reference()[0], case.expected()[0])
    else:  # ONNX Runtime 1.31 has no GlobalLpPool of this opset
        norm = np.sqrt((x.astype(np.float64) ** 2).sum(axes, keepdims=True))
        np.testing.assert_array_equal(case.reference()[0], norm.astype(np.float32))
    with pytest.raises(ModelError):
        _ = SingleNode(op_type, {}, [np.zeros((1, 2, 0), np.float32)]).graph
