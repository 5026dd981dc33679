"""The forms of Winograd convolution, and which problems and tiles they are offered for."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgesmith.frontend.onnx import bind
from edgesmith.ir import Graph
from edgesmith.kernels import KERNELS, Problem, Reject
from edgesmith.kernels.conv.winograd_transform import Matrix, transform
from edgesmith.passes import optimize
from edgesmith.target import Target, parse
from edgesmith.tune.trial import Trial, TrialLibrary

from .problems import places

WINOGRAD = KERNELS["winograd"]
TARGET = parse("native")


def times(matrix: Matrix, vector: list[Fraction]) -> list[Fraction]:
    return [sum((c * v for c, v in zip(row, vector, strict=True)), Fraction(0)) for row in matrix]


@pytest.mark.parametrize(
    ("m", "r", "stride"), [(2, 3, 1), (6, 3, 1), (3, 2, 1), (2, 3, 2), (4, 3, 2), (4, 5, 2), (4, 7, 2), (3, 7, 3)]
)
def test_a_form_is_the_correlation_exactly(m: int, r: int, stride: int) -> None:
    form = transform(m, r, stride)
    rng = np.random.default_rng(m * r)
    taps = [Fraction(int(v), 7) for v in rng.integers(-99, 99, r)]
    inputs = [Fraction(int(v), 5) for v in rng.integers(-99, 99, form.n)]
    products = [a * b for a, b in zip(times(form.kernel, taps), times(form.input, inputs), strict=True)]
    expected = [sum(taps[k] * inputs[i * stride + k] for k in range(r)) for i in range(m)]
    assert times(form.output, products) == expected
    assert len(products) == (m - 1) * stride + r < m * r


def test_fewer_taps_than_the_stride_have_no_form() -> None:
    with pytest.raises(ValueError, match="2 taps at stride 3"):
        transform(2, 2, 3)


def convolution(size: int, kernel: int, stride: int, channels: int = 16) -> Graph:
    """Without padding."""
    weights = np.ones((32, channels, kernel, kernel), np.float32)
    outputs = (size - kernel) // stride + 1
    node = helper.make_node("Conv", ["x", "w"], ["y"], "c", strides=[stride] * 2)
    model = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, channels, size, size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 32, outputs, outputs])],
        [numpy_helper.from_array(weights, "w")],
    )
    return optimize(bind(helper.make_model(model, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)))[0]


def problem(graph: Graph, channels_last_input: bool = True, target: Target = TARGET) -> Problem:
    """The output always has its channels innermost."""
    (region, *_) = WINOGRAD.regions(graph, graph.nodes[0])
    found = places(graph, "channels_last")
    if not channels_last_input:
        found["x"] = places(graph, "row_major")["x"]
    return Problem(graph, region, found, target)


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 2), (7, 2)])
def test_strides_are_taken(kernel: int, stride: int) -> None:
    assert WINOGRAD.accepts(problem(convolution(30, kernel, stride))) is None


def test_other_strides_are_refused_with_what_there_is() -> None:
    reject = WINOGRAD.accepts(problem(convolution(30, 3, 3)))
    assert isinstance(reject, Reject) and "3x3 kernel at stride 3x3" in reject.reason and "at stride 2" in reject.reason


@pytest.mark.toolchain
@pytest.mark.parametrize("channels", [1, 3, TARGET.lanes])
def test_few_channels_are_read_from_where_they_lie_apart(channels: int) -> None:
    graph = convolution(30, 7, 2, channels)
    apart = problem(graph, channels_last_input=False)
    assert WINOGRAD.accepts(apart) is None
    schedule = WINOGRAD.schedules(apart)[0]
    library = TrialLibrary([Trial(p, WINOGRAD, schedule) for p in (apart, problem(graph))], TARGET)
    feeds = {"x": np.random.default_rng(0).standard_normal((1, channels, 30, 30), np.float32)}
    results = [library.run(i, feeds)["y"] for i in range(2)]
    np.testing.assert_array_equal(*results, err_msg="the layout of the input changes the result")
    assert np.isfinite(results[0]).all() and results[0].std() > 0


def test_many_channels_that_lie_apart_are_refused() -> None:
    reject = WINOGRAD.accepts(problem(convolution(30, 3, 1, TARGET.lanes + 1), channels_last_input=False))
    assert isinstance(reject, Reject) and "input channels with stride" in reject.reason


def test_tiles_may_be_rectangular_and_are_cut_evenly() -> None:
    """28 rows are 7 tiles of 4 or 5 of 6, and 25 tiles are five times 5, not four times 6 and one."""
    avx2 = parse("x86_64-linux-gnu+avx2")
    schedules = WINOGRAD.schedules(problem(convolution(30, 3, 1, channels=128), target=avx2))
    assert any(s["height"] != s["width"] for s in schedules)
    assert all(s["rows"] == 5 for s in schedules if s["tiles"] == 25 and s["vectors"] == 2)
    assert any(s["tiles"] == 25 for s in schedules)
