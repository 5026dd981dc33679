"""The bounds hold for honest rounding and are too tight for mistakes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesmith.c.expr import Expr, call, evaluate, select, var
from edgesmith.ir import DType, Graph, Node, TensorType
from edgesmith.kernels import Code, Kernel, Problem, Region, Reject, Schedule
from edgesmith.kernels.rounding import CONFIDENCE, gamma
from edgesmith.ops import OPS, Operator
from edgesmith.ops.base import f32
from edgesmith.verify.accumulate import accumulate
from edgesmith.verify.compare import compare
from edgesmith.verify.evaluate import Evaluator
from edgesmith.verify.expressions import Bounded, expression_bound
from edgesmith.verify.tolerance import region_bounds, rounding_bounds, rounding_deviations

X, Y = var("x"), var("y")
EXPRESSIONS: dict[str, Expr] = {
    "polynomial": (X * 3.0 + 1.0) * X - Y,
    "cancellation": (X + 1e4) - 1e4,
    "quotient": X / (Y * Y + 0.5),
    "sigmoid": 1.0 / (1.0 + call("exp", -X)),
    "swish": X * call("sigmoid", X),
    "gelu": X * 0.5 * (1.0 + call("erf", X * 0.70710678)),
    "root": call("sqrt", X * X + Y * Y),
    "clip": call("min", 1.0, call("max", -1.0, X * 1.1)),
    "kink": select(X < 0.0, X * 0.01, X),
}


@pytest.mark.parametrize("name", EXPRESSIONS)
@given(seed=st.integers(0, 2**31), scale=st.sampled_from([1e-3, 1.0, 30.0]))
@settings(max_examples=15, deadline=None)
def test_f32_evaluation_stays_within_the_bound_of_one_program(name: str, seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    leaves = {n: (rng.standard_normal(200) * scale).astype(np.float32) for n in "xy"}
    expr = EXPRESSIONS[name]
    wide = {n: a.astype(np.float64) for n, a in leaves.items()}
    got = evaluate(expr, leaves).astype(np.float64)
    exact = evaluate(_in_f64(expr), wide)
    bound = expression_bound(expr, {n: Bounded(a) for n, a in wide.items()}, 1)
    assert np.all(np.abs(got - exact) <= bound + 1e-38)
    # Tight enough to mean something: a few roundings of what the expression handles, no more.
    handled = 1e4 if name == "cancellation" else float(np.max(np.abs(list(wide.values()))) ** 2 + 2)
    assert np.max(bound) < 40 * DType.F32.unit_roundoff * handled


def _in_f64(expr: Expr) -> Expr:
    dtype = DType.F64 if expr.dtype is DType.F32 else expr.dtype
    value = float(np.float32(expr.value)) if expr.op == "const" else expr.value  # type: ignore[arg-type]
    return Expr(expr.op, tuple(_in_f64(a) for a in expr.args), dtype, value)


def test_errors_of_arguments_travel() -> None:
    bound = expression_bound(X * 2.0, {"x": Bounded(np.array([1.0, 3.0]), np.array([0.5, 0.0]))}, 0)
    assert bound.tolist() == [1.0, 0.0]
    jump = expression_bound(
        select(X < 0.0, X * 0.0, X + 5.0), {"x": Bounded(np.array([0.01, 2.0]), np.array([0.1, 0.1]))}, 0
    )
    assert jump[0] > 5 and jump[1] == pytest.approx(0.1)


def test_gamma_is_the_worst_case_for_short_sums_and_the_probable_one_for_long() -> None:
    u = DType.F32.unit_roundoff
    assert u == 2.0**-24
    assert gamma(9, DType.F32) == 9 * u
    assert gamma(4608, DType.F32) == pytest.approx(CONFIDENCE * math.sqrt(4608) * u)
    assert gamma(100, DType.F16) == pytest.approx(40 * 2.0**-11)


def conv_graph(op: Operator, x: tuple[int, ...], w: tuple[int, ...], out: tuple[int, ...]) -> Graph:
    types = {"x": f32(*x), "w": f32(*w), "b": f32(w[0]), "y": f32(*out)}
    return Graph(("x", "w", "b"), ("y",), (Node("conv", op, ("x", "w", "b"), ("y",)),), types, {})


@pytest.mark.parametrize("depth", [1, 8, 64, 512])
def test_a_naive_f32_convolution_is_within_and_a_wrong_one_is_not(depth: int) -> None:
    rng = np.random.default_rng(depth)
    x, w = (rng.standard_normal(s).astype(np.float32) for s in ((1, depth, 4, 4), (3, depth, 1, 1)))
    b = rng.standard_normal(3).astype(np.float32)
    case = next(c for c in OPS["Conv"].cases() if c.name == "1x1")
    graph = conv_graph(case.op, x.shape, w.shape, (1, 3, 4, 4))
    naive = np.zeros((1, 3, 4, 4), np.float32)
    for c in range(depth):
        naive += w[:, c, 0, 0].reshape(1, 3, 1, 1) * x[:, c : c + 1]
    naive += b.reshape(1, 3, 1, 1)
    evaluator = Evaluator(graph)
    expected = evaluator.run(graph.nodes[0], [x, w, b])
    (bound,) = rounding_bounds(evaluator, graph.nodes[0], [x, w, b], expected)
    assert compare(naive, expected[0], bound).ok
    wrong = naive.copy()
    wrong[0, 1] += 2e-4 * np.sqrt(depth)
    assert not compare(wrong, expected[0], bound).ok


class Rough(Kernel):
    """A kernel that states a bound of 1 for every element."""

    name = "rough"

    def regions(self, graph: Graph, anchor: Node) -> Iterator[Region]:
        return iter(())

    def accepts(self, problem: Problem) -> Reject | None:
        return None

    def cost(self, problem: Problem, schedule: Schedule) -> float:
        return 0.0

    def emit(self, problem: Problem, schedule: Schedule) -> Code:
        return Code("", "rough")

    def rounding(self, node: Node, operands: Sequence[np.ndarray | None], schedule: Schedule) -> np.ndarray | None:
        return np.full(schedule["elements"], 1.0) if schedule else None


def test_a_kernel_states_the_rounding_of_its_own_algorithm() -> None:
    rng = np.random.default_rng(0)
    case = next(c for c in OPS["Conv"].cases() if c.name == "1x1")
    x, w, b = (rng.standard_normal(s).astype(np.float32) for s in ((1, 16, 4, 4), (3, 16, 1, 1), (3,)))
    graph = conv_graph(case.op, x.shape, w.shape, (1, 3, 4, 4))
    (node,) = graph.nodes
    evaluator = Evaluator(graph)
    (y,) = evaluator.run(node, [x, w, b])
    values = {"x": x, "w": w, "b": b, "y": y}
    direct = region_bounds(evaluator, [node], values)["y"]
    stated = region_bounds(evaluator, [node], values, {"conv": (Rough(), {"elements": 1})})["y"]
    np.testing.assert_allclose(stated, direct / 2 + 1.0)
    silent = region_bounds(evaluator, [node], values, {"conv": (Rough(), {})})["y"]
    np.testing.assert_array_equal(silent, direct)
    (typical,) = rounding_deviations(evaluator, node, [x, w, b], [y])
    (larger,) = rounding_deviations(evaluator, node, [x, w, b], [y], {"conv": (Rough(), {"elements": 1})})
    np.testing.assert_allclose(larger, np.sqrt(typical**2 / 2 + 1 / CONFIDENCE**2))
    known = accumulate(graph, values)
    rough = accumulate(graph, values, computed={"conv": (Rough(), {"elements": 1})})
    assert known.tolerances["y"] < 1e-4 and 1.0 < rough.tolerances["y"] < 20.0


def test_a_fused_region_sums_its_parts() -> None:
    rng = np.random.default_rng(0)
    case = next(c for c in OPS["Conv"].cases() if c.name == "1x1")
    x, w, b = (rng.standard_normal(s).astype(np.float32) for s in ((1, 16, 4, 4), (3, 16, 1, 1), (3,)))
    types = {"x": f32(1, 16, 4, 4), "w": f32(3, 16, 1, 1), "b": f32(3), "y": f32(1, 3, 4, 4), "z": f32(1, 3, 4, 4)}
    nodes = (Node("conv", case.op, ("x", "w", "b"), ("y",)), Node("tanh", OPS["Tanh"](), ("y",), ("z",)))
    graph = Graph(("x",), ("z",), nodes, types, {"w": w, "b": b})
    evaluator = Evaluator(graph)
    (y,) = evaluator.run(nodes[0], [x, w, b])
    (z,) = evaluator.run(nodes[1], [y])
    bounds = region_bounds(evaluator, nodes, {"x": x, "w": w, "b": b, "y": y, "z": z})
    (alone,) = rounding_bounds(evaluator, nodes[1], [y], [z])
    assert np.all(bounds["z"] >= alone)
    flat = np.abs(y) > 4  # where tanh is flat the error of y vanishes
    assert np.all(bounds["z"][flat] < np.asarray(bounds["y"])[flat])


def test_movement_and_selection_are_exact() -> None:
    op = OPS["MaxPool"]
    case = next(iter(op.cases()))
    kind = case.inputs[0]
    assert isinstance(kind, TensorType)
    out = case.op.infer([kind])
    graph = Graph(("x",), ("y",), (Node("pool", case.op, ("x",), ("y",)),), {"x": kind, "y": out[0]}, {})
    x = np.random.default_rng(0).standard_normal(kind.shape).astype(kind.dtype.numpy)
    evaluator = Evaluator(graph)
    results = evaluator.run(graph.nodes[0], [x])
    assert rounding_bounds(evaluator, graph.nodes[0], [x], results) == [0.0]


def test_softmax_of_large_numbers_is_allowed_more() -> None:
    op = OPS["Softmax"](axis=1)  # type: ignore[call-arg]
    node = Node("softmax", op, ("x",), ("y",))
    graph = Graph(("x",), ("y",), (node,), {"x": f32(1, 50), "y": f32(1, 50)}, {})
    evaluator = Evaluator(graph)
    x = np.random.default_rng(0).standard_normal((1, 50)).astype(np.float32)
    worst = []
    for shift in (0.0, 1000.0):
        results = evaluator.run(node, [x + np.float32(shift)])
        (bound,) = rounding_bounds(evaluator, node, [x + np.float32(shift)], results)
        worst.append(float(np.max(bound)))
    assert worst[0] < 1e-5
    assert worst[1] > 50 * worst[0]


def test_non_finite_values_must_match_in_position() -> None:
    a = np.array([1.0, np.nan, np.inf, -np.inf], np.float32)
    assert compare(a, a.copy(), 0.0).ok
    for i, wrong in ((0, np.nan), (1, 0.0), (2, np.nan), (2, -np.inf), (3, 1e30)):
        b = a.copy()
        b[i] = wrong
        difference = compare(b, a, 1e9)
        assert not difference.ok and difference.at == (i,)


def test_comparison_reports_what_it_saw() -> None:
    expected = np.array([[1.0, 2.0], [4.0, 8.0]], np.float32)
    got = expected.copy()
    got[1, 0] += 1e-3
    d = compare(got, expected, np.array([[1, 1], [1e-4, 1]]))
    assert d.at == (1, 0) and not d.ok
    assert d.max_abs == pytest.approx(1e-3, rel=1e-3)
    assert d.relative == pytest.approx(1e-3 / 8, rel=1e-3)
    assert d.ulp == pytest.approx(1e-3 / np.spacing(np.float32(8)), rel=1e-3)
    assert compare(np.array([3]), np.array([4]), 0.0).ulp == 1
    assert compare(np.array([3]), np.array([4]), 0.0, np.array([True])).ok
    assert compare(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32), 0.0).ok
