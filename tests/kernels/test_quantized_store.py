"""Results that are rounded to bytes where they are stored."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesmith.c.expr import Expr, call, const, emit_together, evaluate, var
from edgesmith.c.mathfunctions import functions_of, inlined
from edgesmith.c.writer import Writer
from edgesmith.ir import DType, TensorType
from edgesmith.kernels import KERNELS, Problem
from edgesmith.kernels.quantized_store import Rounding, bounds
from edgesmith.ops.base import Case
from edgesmith.ops.integer_products import MatMulInteger
from edgesmith.ops.quantize_linear import QuantizeLinear
from edgesmith.target import parse
from edgesmith.toolchain import zig
from edgesmith.tune.trial import Trial, TrialLibrary

from .problems import case_graph, feeds, places, requantized

TARGET = parse("native")
ARITY = {"add": 2, "sub": 2, "mul": 2, "fma": 3, "min": 2, "max": 2, "neg": 1, "abs": 1, "rint": 1, "tanh": 1}


def quantized(dtype: DType, zero: int) -> Expr:
    return QuantizeLinear(dtype).expression(var("x"), const(1.0), const(zero, dtype))


def test_the_end_of_an_expression_is_recognised() -> None:
    for dtype, zero in ((DType.U8, 0), (DType.U8, 255), (DType.I8, -128)):
        rounding = Rounding.of(quantized(dtype, zero), {"x": 9.0}, TARGET)
        assert rounding and (rounding.zero, rounding.dtype, rounding.value.op) == (zero, dtype, "var")
    assert Rounding.of(quantized(DType.U16, 3), {}, TARGET) is None
    assert Rounding.of(var("x") + 1.0, {}, TARGET) is None


def test_what_may_exceed_i32_is_limited_first() -> None:
    assert Rounding.of(quantized(DType.U8, 3), {}, TARGET).value.op == "min"
    assert Rounding.of(quantized(DType.U8, 3), {"x": 2.0**31}, TARGET).value.op == "min"


def test_bounds() -> None:
    x, y = var("x"), var("y")
    assert bounds(x * 2.0 - y, {"x": 3.0, "y": 5.0}) == (-11.0, 11.0)
    assert bounds(call("max", x, -7.0), {"x": 3.0}) == (-3.0, 3.0)
    assert bounds(y * call("sigmoid", x), {"x": 9.0, "y": 2.0}) == (-2.0, 2.0)
    assert bounds(call("fma", x, x, 1.0), {"x": 3.0}) == (-8.0, 10.0)
    assert bounds(call("min", call("max", x, 0.0), 6.0), {"x": 99.0}) == (0.0, 6.0)


def test_what_may_be_nan_has_no_bounds() -> None:
    x = var("x")
    for expr in (x, call("min", call("max", x, 0.0), 6.0), call("sigmoid", x), x - x):
        assert bounds(expr, {}) is None
    assert bounds(call("exp", x), {"x": 1.0}) is None
    assert bounds(x * 1e30 * 1e30, {"x": 1.0}) is None


@given(st.data())
def test_results_lie_within_their_bounds(data: st.DataObject) -> None:
    """Roundings aside, which numbers with few digits do not need."""
    leaves = {"x": 5.0, "y": 3.0}

    def grown(depth: int) -> Expr:
        kind = data.draw(st.sampled_from(["leaf", "leaf", *ARITY] if depth else ["leaf"]))
        if kind == "leaf":
            return data.draw(st.sampled_from([var("x"), var("y"), const(2.0), const(-0.5)]))
        return call(kind, *(grown(depth - 1) for _ in range(ARITY[kind])))

    expr = grown(3)
    found = bounds(expr, leaves)
    assert found is not None
    values = {v: np.array([data.draw(st.integers(-int(m), int(m)))], np.float32) for v, m in leaves.items()}
    assert found[0] - 1e-3 <= evaluate(expr, values).item() <= found[1] + 1e-3


def test_alternating_copies_keep_their_own_variables() -> None:
    writer = Writer()
    expr = inlined(call("sigmoid", var("x")))
    texts = emit_together(expr, [{"x": "left"}, {"x": "right"}], writer, vector=True)
    lines = writer.text().splitlines()
    assert len(set(texts)) == 2 and len(lines) % 2 == 0
    assert "left" in lines[0] and "right" in lines[1]
    assert not functions_of(expr)
    x = np.linspace(-9, 9, 50, dtype=np.float32)
    np.testing.assert_allclose(evaluate(expr, {"x": x}), 1 / (1 + np.exp(-x)), rtol=1e-6)


@pytest.mark.toolchain
@pytest.mark.parametrize("columns", [5, 67], ids=["tail", "tiles"])
@pytest.mark.parametrize("factor", [1.0, 3e7], ids=["usual", "beyond i32"])
def test_bytes_equal_the_reference(columns: int, factor: float) -> None:
    weights = np.random.default_rng(3).integers(-127, 128, (12, columns)).astype(np.int8)
    case = Case(MatMulInteger(), (TensorType((6, 12), DType.U8), weights, np.array(3, np.uint8)), "")
    graph = requantized(case_graph(case))
    assert graph is not None
    graph = replace(graph, constants={**graph.constants, "scales": graph.constants["scales"] * np.float32(factor)})
    target, kernel = parse("native"), KERNELS["integer-tiles"]
    region = list(kernel.regions(graph, graph.nodes[0]))[-1]
    problem = Problem(graph, region, places(graph, "row_major"), target)
    trials = [Trial(problem, kernel, schedule) for schedule in kernel.schedules(problem)[:2]]
    given = feeds(graph)
    library = TrialLibrary(trials, target, zig(), ("-O1",))
    for i in range(len(trials)):
        np.testing.assert_array_equal(library.run(i, given)["quantized"], graph.reference(given)["quantized"])
