"""Quantisation by the range of each run."""

from __future__ import annotations

import numpy as np
import pytest

from edgesmith.export import to_onnx
from edgesmith.ir import DType, Graph
from edgesmith.ops.dynamic_quantize_linear import DynamicQuantizeLinear
from edgesmith.ops.integer_products import ConvInteger, MatMulInteger
from edgesmith.ops.window import Window
from edgesmith.oracle import Oracle
from edgesmith.passes import optimize

from .graphs import Sketch, kinds

RULES = frozenset(("dynamic-quantization", "run-time-zero-points"))


def rewritten(graph: Graph, *feeds: dict[str, np.ndarray]) -> Graph:
    """The graph after the passes; its results are bit for bit those of the original, and ONNX Runtime's."""
    result, report = optimize(graph, RULES)
    assert report.settled
    result.check()
    oracle = Oracle(to_onnx(graph), optimized=False)
    for given in feeds:
        before, after, theirs = graph.reference(given), result.reference(given), oracle.run(given)
        for value in graph.outputs:
            np.testing.assert_array_equal(after[value], before[value], err_msg=value)
            np.testing.assert_array_equal(theirs[value], before[value], err_msg=value)
    return result


@pytest.mark.parametrize("shape", [(7,), (2, 3, 4), ()], ids=str)
def test_dynamic_quantization(shape: tuple[int, ...]) -> None:
    s = Sketch()
    outputs = s.all(DynamicQuantizeLinear(), s.input(*shape))
    draw = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    graph = s.graph(*outputs)
    result = rewritten(graph, *({"x0": np.asarray(x, np.float32)} for x in (draw, draw + 9, draw - 9, 0 * draw)))
    assert "DynamicQuantizeLinear" not in kinds(result) and kinds(result)[-1] == "QuantizeLinear"


@pytest.mark.parametrize("op", ["matmul", "conv", "padded", "grouped"])
@pytest.mark.parametrize("by_channel", [True, False])
@pytest.mark.parametrize("weights", [DType.I8, DType.U8])
def test_zero_point_of_the_input_that_the_run_decides(op: str, by_channel: bool, weights: DType) -> None:
    s = Sketch()
    # Beyond 7 bits, ONNX Runtime's sums of pairs saturate on processors without VNNI.
    limits = (-64, 63) if weights is DType.I8 else (0, 127)

    def draw(*shape: int) -> np.ndarray:
        return s.rng.integers(*limits, shape, endpoint=True).astype(weights.numpy)

    zero = s.input(dtype=DType.U8, name="zero")
    if op == "matmul":
        x, w, node = s.input(3, 6, dtype=DType.U8), draw(6, 5), MatMulInteger()
    else:
        pad, group = int(op == "padded"), 2 if op == "grouped" else 1
        x, w = s.input(2, 4, 6, 7, dtype=DType.U8), draw(6, 4 // group, 3, 3)
        node = ConvInteger(Window((3, 3), (2, 1), (pad, pad), (0, pad), (1, 1)), group)
    # ONNX Runtime's ConvInteger takes one zero point for all channels.
    points = draw(w.shape[-1] if op == "matmul" else w.shape[0]) if by_channel else draw()
    y = s.add(node, x, s.constant(w), zero, s.constant(points))
    graph = s.graph(y)
    feeds = [
        {x: s.rng.integers(0, 256, s.types[x].shape).astype(np.uint8), "zero": np.array(z, np.uint8)}
        for z in (0, 131, 255)
    ]
    result, _ = optimize(graph, RULES)
    assert kinds(result) == ["Cast", "Mul", type(node).name, "Sub"] or kinds(result)[0] == type(node).name
    for given in feeds:
        np.testing.assert_array_equal(result.reference(given)[y], graph.reference(given)[y])
    if not by_channel:
        rewritten(graph, *feeds)


def test_what_stays() -> None:
    s = Sketch()
    zero = s.input(dtype=DType.U8, name="zero")
    x, w = s.input(3, 6, dtype=DType.U8), s.input(6, 4, dtype=DType.I8)
    stacks = s.constant(np.ones((2, 6, 4), np.int8))
    large = s.input(1, 1, 1500, 1500, dtype=DType.U8)
    window = Window((3, 3), (1, 1), (1, 1), (1, 1), (1, 1))
    outputs = [
        s.add(MatMulInteger(), x, w, zero),
        s.add(MatMulInteger(), x, stacks, zero),
        s.add(ConvInteger(window), large, s.constant(np.ones((1, 1, 3, 3), np.int8)), zero),
    ]
    result, report = optimize(s.graph(*outputs), RULES)
    assert kinds(result) == ["MatMulInteger", "MatMulInteger", "ConvInteger"]
    reasons = [r for (rule, _), r in report.skipped.items() if rule == "run-time-zero-points"]
    assert [r.split()[0] for r in reasons] == ["its", "weights", "the"]
