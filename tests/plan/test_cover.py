"""Covering graphs with regions, and falling back where the layout refuses one."""

from __future__ import annotations

import numpy as np
import pytest

from edgesmith.errors import NoKernel, UnsupportedOp
from edgesmith.frontend.onnx import bind
from edgesmith.ir import DType, Graph, Node, TensorType
from edgesmith.kernels import Kernel, Problem, Region, Schedule
from edgesmith.kernels.region import region
from edgesmith.ops import OPS
from edgesmith.ops.conv import Conv
from edgesmith.ops.gemm import Gemm
from edgesmith.ops.window import Window
from edgesmith.passes import optimize
from edgesmith.plan import make_plan
from edgesmith.plan.cover import Proposal, cover, proposals
from edgesmith.plan.outputs import own_memory
from edgesmith.plan.select import Selector
from edgesmith.target import parse
from fuzz.random_graphs import random_model

NATIVE = parse("native")
IMAGE = TensorType((1, 16, 8, 8), DType.F32)
POINTWISE = Conv(Window((1, 1), (1, 1), (0, 0), (0, 0), (1, 1)), 1)
ADD, RELU = OPS["Add"](), OPS["Relu"]()


def conv(name: str, x: str, y: str) -> Node:
    return Node(name, POINTWISE, (x, "w"), (y,))


def graph(nodes: tuple[Node, ...], inputs: tuple[str, ...], outputs: tuple[str, ...]) -> Graph:
    weights = np.ones((16, 16, 1, 1), np.float32)
    types = dict.fromkeys((*inputs, *(v for n in nodes for v in n.outputs)), IMAGE)
    result = Graph(inputs, outputs, nodes, types | {"w": TensorType.of(weights)}, {"w": weights})
    result.check()
    return result


def assert_covers(regions: tuple[Region, ...], whole: Graph) -> None:
    """Every node once, operands before their readers."""
    names = [n.name for r in regions for n in r.nodes]
    assert sorted(names) == sorted(n.name for n in whole.nodes)
    known = {*whole.inputs, *whole.constants}
    for taken in regions:
        assert set(taken.inputs) <= known
        known.update(v for n in taken.nodes for v in n.outputs)


@pytest.mark.parametrize("target", ["native", "portable"])
def test_random_graphs_are_covered_once_in_order(target: str) -> None:
    for seed in range(40):
        whole = own_memory(optimize(bind(random_model([seed])))[0])
        assert_covers(cover(whole, proposals(whole, Selector(parse(target)))), whole)


def test_two_regions_that_need_each_other_are_not_both_taken() -> None:
    """Parallel branches of x and of z: each pair adds an output of the other."""
    nodes = (
        conv("a", "x", "r1"),
        conv("d", "z", "s2"),
        conv("b", "x", "b"),
        Node("ab", ADD, ("b", "s2"), ("r2",)),
        conv("c", "z", "c"),
        Node("ac", ADD, ("c", "r1"), ("s1",)),
    )
    whole = graph(nodes, ("x", "z"), ("r1", "r2", "s1", "s2"))
    by_name = {n.name: n for n in nodes}
    first = Region(tuple(by_name[n] for n in ("a", "b", "ab")), by_name["a"], ("x", "s2"), ("r1", "r2"))
    second = Region(tuple(by_name[n] for n in ("d", "c", "ac")), by_name["d"], ("z", "r1"), ("s1", "s2"))
    regions = cover(whole, [Proposal(first, 2.0), Proposal(second, 1.0)])
    assert_covers(regions, whole)
    assert first in regions and second not in regions
    assert_covers(tuple(s.region for s in make_plan(whole, NATIVE).steps), own_memory(whole))


def test_the_cover_saves_most() -> None:
    """A chain of overlapping regions: every set of disjoint regions is tried, none saves more."""
    rng = np.random.default_rng(0)
    names = [f"n{i}" for i in range(9)]
    nodes = tuple(Node(n, RELU, (f"v{i}",), (f"v{i + 1}",)) for i, n in enumerate(names))
    whole = graph(nodes, ("v0",), (f"v{len(nodes)}",))
    for _ in range(20):
        spans = [nodes[a:b] for a in range(len(nodes)) for b in range(a + 2, min(a + 5, len(nodes) + 1))]
        proposed = [Proposal(region(whole, s, s[0]), rng.random()) for s in spans if rng.random() < 0.6]

        def best(first: int, proposed: list[Proposal] = proposed) -> float:
            if first >= len(nodes):
                return 0.0
            starting = [p for p in proposed if p.region.anchor is nodes[first]]
            return max([best(first + 1), *(p.saving_ns + best(first + len(p.region.nodes)) for p in starting)])

        regions = cover(whole, proposed)
        assert_covers(regions, whole)
        assert sum(p.saving_ns for p in proposed if p.region in regions) == pytest.approx(best(0))


def test_a_relu_is_fused_even_where_the_measured_times_speak_against_it() -> None:
    """A disturbed measurement of the fused convolution costs more than the Relu by itself."""
    nodes = (conv("a", "x", "b"), Node("relu", RELU, ("b",), ("c",)), Node("plus", ADD, ("c", "y"), ("d",)))
    whole = graph(nodes, ("x", "y"), ("d",))

    def disturbed(kernel: Kernel, problem: Problem, schedule: Schedule) -> float:
        return {"Conv": 100.0, "Relu": 5.0, "Add": 5.0, "Conv+Relu": 120.0, "Conv+Relu+Add": 130.0}.get(
            problem.region.label, 1000.0
        )

    labels = [r.label for r in cover(whole, proposals(whole, Selector(NATIVE, disturbed)))]
    assert labels == ["Conv+Relu", "Add"]


def test_regions_do_not_reach_over_an_output() -> None:
    nodes = (conv("a", "x", "r"), Node("relu", RELU, ("r",), ("y",)))
    whole = graph(nodes, ("x",), ("r", "y"))
    assert [len(r.nodes) for r in cover(whole, proposals(whole, Selector(NATIVE)))] == [1, 1]
    fused = graph(nodes, ("x",), ("y",))
    assert [len(r.nodes) for r in cover(fused, proposals(fused, Selector(NATIVE)))] == [2]


def test_output_that_is_an_input_is_refused_with_a_hint() -> None:
    whole = graph((conv("a", "x", "y"),), ("x",), ("y", "x"))
    with pytest.raises(UnsupportedOp, match="input of the model"):
        make_plan(whole, NATIVE)


def test_no_kernel_names_every_reason() -> None:
    whole = graph((conv("a", "x", "y"),), ("x",), ("y",))
    with pytest.raises(NoKernel, match="copy: moves elements only"):
        make_plan(whole, NATIVE, only=["copy"])


def test_bias_of_gemm_along_rows_is_not_taken_for_one_along_columns() -> None:
    """A square product with C of shape (4, 1): as many elements as columns, but one for each row."""
    values = {"b": np.ones((4, 4), np.float32), "c": np.ones((4, 1), np.float32)}
    square = TensorType((4, 4), DType.F32)
    types = {"x": square, "y": square} | {k: TensorType.of(v) for k, v in values.items()}
    node = Node("gemm", Gemm(1.0, 1.0, 0, 0), ("x", "b", "c"), ("y",))
    (step,) = make_plan(Graph(("x",), ("y",), (node,), types, values), NATIVE).steps
    reasons = {c.kernel: c.reason for c in step.considered}
    assert "differs from row to row" in reasons["gemm"]


def test_comparison_after_a_convolution_is_not_fused() -> None:
    """Its truth values are no f32 that the convolution could store."""
    whole = graph((conv("a", "x", "r"),), ("x",), ("r",))
    greater = Node("greater", OPS["Greater"](), ("r", "x"), ("y",))
    types = {**whole.types, "y": TensorType(IMAGE.shape, DType.BOOL)}
    fused = Graph(("x",), ("y",), (*whole.nodes, greater), types, whole.constants)
    fused.check()
    assert [len(s.region.nodes) for s in make_plan(fused, NATIVE).steps][:2] == [1, 1]
