"""Graphs written back to ONNX: every operator's every case, and whole networks."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from edgesmith.errors import UnsupportedOp
from edgesmith.export import to_onnx
from edgesmith.frontend.normalize import normalize
from edgesmith.frontend.onnx import bind
from edgesmith.ir import DType, Graph, Node, TensorType
from edgesmith.oldest_opset import in_oldest_opset
from edgesmith.ops import OPS
from edgesmith.ops.base import Case
from edgesmith.oracle import Oracle
from edgesmith.passes import optimize
from edgesmith.verify.compare import compare
from edgesmith.verify.evaluate import Evaluator
from edgesmith.verify.tolerance import rounding_bounds, smallest
from small_networks import residual_network

CASES = [(name, case) for name, op in OPS.items() for case in op.cases()]


def values(kind: TensorType, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if kind.dtype.is_float:
        return rng.standard_normal(kind.shape).astype(kind.dtype.numpy)
    return rng.integers(1, 3, kind.shape).astype(kind.dtype.numpy)


def single(case: Case) -> Graph:
    names = tuple("" if t is None else f"x{i}" for i, t in enumerate(case.inputs))
    given = {n: t for n, t in zip(names, case.inputs, strict=True) if t is not None}
    types = {n: t if isinstance(t, TensorType) else TensorType.of(t) for n, t in given.items()}
    constants = {n: t for n, t in given.items() if isinstance(t, np.ndarray)}
    results = case.op.infer([types.get(n) for n in names])
    outputs = tuple(f"y{i}" for i in range(len(results)))
    node = Node("node", case.op, names, outputs)
    inputs = tuple(n for n in names if n and n not in constants)
    return Graph(inputs, outputs, (node,), types | dict(zip(outputs, results, strict=True)), constants, "single")


@pytest.mark.parametrize(
    ("name", "case"), CASES, ids=[f"{name}-{case.name}-{i}" for i, (name, case) in enumerate(CASES)]
)
def test_every_case_means_the_same_to_onnx_runtime(name: str, case: Case) -> None:
    graph = single(case)
    (node,) = graph.nodes
    feeds = {v: values(graph.type(v), i) for i, v in enumerate(graph.inputs)}
    try:
        expected = Oracle(to_onnx(graph), optimized=False).run(feeds)
    except UnsupportedOp as error:
        pytest.skip(error.why.split("] : ")[-1].split(" : ")[-1])
    given = feeds | dict(graph.constants)
    operands = [given[v] if v else None for v in node.inputs]
    got = case.op.reference(*operands)
    bounds = rounding_bounds(Evaluator(graph), node, operands, [expected[v] for v in graph.outputs])
    for value, result, bound in zip(graph.outputs, got, bounds, strict=True):
        floor = smallest(DType.of(result.dtype)) if np.any(bound) else 0.0
        assert compare(result, expected[value], np.maximum(bound, floor)).ok


@pytest.mark.parametrize(
    ("name", "case"), CASES, ids=[f"{name}-{case.name}-{i}" for i, (name, case) in enumerate(CASES)]
)
def test_the_oldest_opset_means_the_same(name: str, case: Case) -> None:
    graph = single(case)
    model = to_onnx(graph)
    older = in_oldest_opset(model)
    if older.opset_import == model.opset_import:
        pytest.skip("only the newest opset has it")
    feeds = {v: values(graph.type(v), i) for i, v in enumerate(graph.inputs)}
    try:
        expected = Oracle(model, optimized=False).run(feeds)
        found = Oracle(older, optimized=False).run(feeds)
    except UnsupportedOp as error:
        pytest.skip(error.why.split("] : ")[-1].split(" : ")[-1])
    for value, result in expected.items():
        np.testing.assert_array_equal(found[value], result)


def test_a_network_survives_the_round_trip() -> None:
    model = residual_network()
    graph, _ = optimize(bind(normalize(model)))
    written = to_onnx(graph)
    onnx.checker.check_model(written, full_check=True)
    x = np.random.default_rng(0).standard_normal((1, 3, 16, 16)).astype(np.float32)
    a, b = Oracle(model).run({"x": x}), Oracle(written).run({"x": x})
    assert a.keys() == b.keys()
    for v in a:
        np.testing.assert_allclose(a[v], b[v], rtol=1e-5, atol=1e-6)
    again = bind(normalize(written))
    assert [n.op for n in again.nodes] == [n.op for n in graph.nodes]


def test_names_survive() -> None:
    graph = bind(normalize(residual_network()))
    written = to_onnx(graph)
    assert [n.name for n in written.graph.node] == [n.name for n in graph.nodes]
    assert {o for n in written.graph.node for o in n.output} == {v for n in graph.nodes for v in n.outputs}
