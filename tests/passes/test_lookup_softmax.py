"""Softmax between bytes in integers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgesmith import api
from edgesmith.export import to_onnx
from edgesmith.ir import DType, Graph
from edgesmith.ops.lookup_softmax import LONGEST, exponentials
from edgesmith.ops.relu import Relu
from edgesmith.ops.softmax import LogSoftmax, Softmax
from edgesmith.oracle import Oracle
from edgesmith.passes import optimize
from edgesmith.verify import accumulate

from .graphs import kinds
from .quantized import QuantizedSketch

RULES = frozenset(("lookup-softmax", "dead-code"))


def rewritten(graph: Graph, x: np.ndarray) -> tuple[Graph, np.ndarray]:
    """The graph after the pass, and how many steps each result is from the original's in ONNX Runtime."""
    result, report = optimize(graph, RULES)
    assert report.settled
    (value,) = graph.inputs
    original = Oracle(to_onnx(graph), optimized=False).run({value: x})
    spelled_out = Oracle(to_onnx(result), optimized=False).run({value: x})
    found = result.reference({value: x})
    for y in graph.outputs:
        np.testing.assert_array_equal(spelled_out[y], found[y])
    return result, np.abs(found[graph.outputs[0]].astype(np.float64) - original[graph.outputs[0]])


def softmax(shape: tuple[int, ...], axis: int, x: DType, y: DType, scale: float, step: float, zero: int) -> Graph:
    s = QuantizedSketch()
    real = s.dq(s.input(*shape, dtype=x), scale, 17)
    return s.graph(s.q(s.add(Softmax(axis), real), step, zero, y))


def bytes_of(dtype: DType, shape: tuple[int, ...]) -> np.ndarray:
    low, high = dtype.limits
    return np.random.default_rng(2).integers(low, high + 1, shape).astype(dtype.numpy)


@pytest.mark.parametrize("x", [DType.U8, DType.I8])
@pytest.mark.parametrize(
    ("y", "step", "zero"), [(DType.U8, 1 / 255, 0), (DType.I8, 1 / 256, -128), (DType.U8, 3e-4, 9)]
)
@pytest.mark.parametrize("scale", [1e-4, 0.05, 1.7])
def test_integers_are_a_step_from_floats_at_most(x: DType, y: DType, step: float, zero: int, scale: float) -> None:
    for shape, axis in (((4, 60), 1), ((2, 9, 3, 2), 1), ((300,), 0), ((7, 1), 1)):
        result, steps = rewritten(softmax(shape, axis, x, y, scale, step, zero), bytes_of(x, shape))
        assert kinds(result) == ["LookupSoftmax"]
        assert steps.max() <= 1


def test_the_longest_line_whose_roundings_all_go_one_way() -> None:
    """One large element and others whose exponential is just below the half of the table's unit."""
    unit = 1 / exponentials(0.1, LONGEST)[0]
    scale = float(-np.log(0.49 * unit) / 255)
    x = np.zeros((1, LONGEST), np.uint8)
    x[0, 0] = 255
    graph = softmax(x.shape, 1, DType.U8, DType.U8, scale, 1 / 255, 0)
    result, steps = rewritten(graph, x)
    assert kinds(result) == ["LookupSoftmax"] and steps.max() <= 1
    assert exponentials(scale, LONGEST)[255] == 0
    many = np.where(np.arange(LONGEST) < LONGEST // 2, 200, 190).astype(np.uint8)[None]
    assert rewritten(graph, many)[1].max() <= 1


def test_sums_of_the_longest_line_fit() -> None:
    for length in (1, 2, 3, 100, 1025, LONGEST):
        table = exponentials(0.01, length).astype(np.int64)
        assert length * table.max() < 2**31 and table.max() < 2**24 and table[0] >= 128 * length


def test_verification_reckons_with_what_floats_round_otherwise() -> None:
    shape = (400, 300)
    graph = softmax(shape, 1, DType.U8, DType.U8, 0.03, 1 / 30000, 0)
    x = bytes_of(DType.U8, shape)
    result, steps = rewritten(graph, x)
    unstable = accumulate(result, {graph.inputs[0]: x}).unstable[graph.outputs[0]]
    assert steps.any() and unstable[steps > 0].all() and unstable.mean() < 0.01


@pytest.mark.toolchain
@pytest.mark.parametrize("target", ["portable", "native"])
def test_the_program_has_the_simulators_integers(target: str, tmp_path: Path) -> None:
    graph = softmax((3, 5, 70), 2, DType.I8, DType.U8, 0.08, 1 / 255, 0)
    artifact = api.compile(to_onnx(graph), output=tmp_path / "out", target=target, tune="off", cache=False)
    x = bytes_of(DType.I8, (3, 5, 70))
    found = artifact(x)
    expected = optimize(graph)[0].reference({graph.inputs[0]: x})[graph.outputs[0]]
    np.testing.assert_array_equal(found if isinstance(found, np.ndarray) else found[graph.outputs[0]], expected)


@pytest.mark.parametrize("case", ["longer", "floats", "read twice", "logarithm", "16 bits", "tiny steps"])
def test_what_stays_in_floats(case: str) -> None:
    s = QuantizedSketch()
    length = LONGEST + 1 if case == "longer" else 20
    kind = DType.I16 if case == "16 bits" else DType.U8
    x = s.dq(s.input(2, length, dtype=kind), 0.05, 3)
    y = s.add(LogSoftmax(1) if case == "logarithm" else Softmax(1), s.add(Relu(), x) if case == "floats" else x)
    outputs = [s.q(y, 1e-9 if case == "tiny steps" else 1 / 255, 0)]
    outputs += [y] if case == "read twice" else []
    result, report = optimize(s.graph(*outputs), RULES)
    assert "LookupSoftmax" not in kinds(result)
    assert bool(report.skipped) == (case in ("longer", "tiny steps"))
