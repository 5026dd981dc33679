"""Kernels on random shapes in random places: odd channel counts, parts of larger buffers, reversed axes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgesmith.ir import DType, Graph, TensorType, View
from edgesmith.kernels import KERNELS, Place, Problem
from edgesmith.ops import OPS, Operator
from edgesmith.ops.average_pool import AveragePool
from edgesmith.ops.base import Case
from edgesmith.ops.lp_pool import LpPool
from edgesmith.ops.max_pool import MaxPool
from edgesmith.ops.reductions import ReduceMean
from edgesmith.ops.sign_products import SignConv
from edgesmith.ops.softmax import Softmax
from edgesmith.ops.window import Window
from edgesmith.plan.layout import channels_last
from edgesmith.target import Target, parse
from edgesmith.tune.trial import Trial, TrialLibrary
from instruction_sets import native_sets

from .problems import Check, case_graph, feeds, references

pytestmark = pytest.mark.toolchain

TARGETS = [f"native+{isa}" for isa in native_sets()]
FLAGS = ("-Werror", "-O1")
PROBLEMS = 24
PROBLEMS_OF = {"signs": 6}
"""Fewer where each problem is a lot of code."""
CHANNELS = st.sampled_from([1, 2, 3, 5, 8, 16, 17, 33, 64, 70])


@st.composite
def views(draw: st.DrawFn, kind: TensorType, order: tuple[int, ...] | None = None, reversible: bool = True) -> View:
    """A place in a buffer that may be larger, with axes in ``order`` (default: any), some of them descending."""
    order = order or tuple(draw(st.permutations(range(kind.rank))))
    before = [draw(st.integers(0, 2)) for _ in kind.shape]
    after = [draw(st.integers(0, 2)) for _ in kind.shape]
    larger = tuple(n + b + a for n, b, a in zip(kind.shape, before, after, strict=True))
    whole = View.dense(TensorType(larger, kind.dtype), order)
    starts, steps = list(before), [1] * kind.rank
    for axis in range(kind.rank):
        if reversible and axis != order[-1] and draw(st.integers(0, 3)) == 0:
            starts[axis], steps[axis] = before[axis] + kind.shape[axis] - 1, -1
    return whole.slice(starts, kind.shape, steps)


def in_places(draw: st.DrawFn, graph: Graph, order: Callable[[int], tuple[int, ...] | None]) -> dict[str, Place]:
    return {
        v: Place(v, draw(views(t, order(t.rank), v in graph.inputs)))
        for v, t in graph.types.items()
        if v not in graph.constants
    }


@st.composite
def pools(draw: st.DrawFn) -> tuple[Graph, dict[str, Place]]:
    rank = draw(st.integers(1, 2))
    spatial = tuple(draw(st.integers(4, 9)) for _ in range(rank))
    kernel = tuple(draw(st.integers(1, 4)) for _ in range(rank))
    dilations = tuple(draw(st.integers(1, 2)) if (k - 1) * 2 < n else 1 for k, n in zip(kernel, spatial, strict=True))
    strides = tuple(draw(st.integers(1, 3)) for _ in range(rank))
    begin, end = (tuple(draw(st.integers(0, k - 1)) for k in kernel) for _ in range(2))
    window = Window(kernel, strides, begin, end, dilations, draw(st.booleans()))
    op: Operator = draw(
        st.sampled_from(
            [MaxPool(window), AveragePool(window), AveragePool(window, 1), LpPool(window), LpPool(window, 1)]
        )
    )
    shape = (draw(st.integers(1, 2)), draw(CHANNELS), *spatial)
    graph = case_graph(Case(op, (TensorType(shape, DType.F32),)))
    return graph, in_places(draw, graph, channels_last)


@st.composite
def copies(draw: st.DrawFn) -> tuple[Graph, dict[str, Place]]:
    dtype = draw(st.sampled_from([DType.F32, DType.F32, DType.F32, DType.U8, DType.I64]))
    shape = tuple(draw(st.sampled_from([1, 2, 3, 4, 5, 7, 8, 16, 18, 33])) for _ in range(draw(st.integers(1, 4))))
    graph = case_graph(Case(OPS["Identity"](), (TensorType(shape, dtype),)))
    return graph, in_places(draw, graph, lambda rank: None)


@st.composite
def chains(draw: st.DrawFn) -> tuple[Graph, dict[str, Place]]:
    shape = (draw(st.integers(1, 2)), draw(CHANNELS), draw(st.integers(1, 5)), draw(st.integers(1, 5)))
    other = tuple(n if draw(st.booleans()) else 1 for n in shape)
    op = OPS[draw(st.sampled_from(["Add", "Mul", "Sub"]))]()
    graph = case_graph(Case(op, (TensorType(shape, DType.F32), TensorType(other, DType.F32))))
    like_each_other = draw(st.booleans())
    return graph, in_places(draw, graph, channels_last if like_each_other else lambda rank: None)


@st.composite
def walks(draw: st.DrawFn) -> tuple[Graph, dict[str, Place]]:
    shape = (draw(st.integers(1, 3)), draw(CHANNELS), draw(st.integers(1, 9)), draw(st.sampled_from([1, 7, 16, 40])))
    axes = tuple(a for a in range(4) if draw(st.booleans()))
    op: Operator = draw(st.sampled_from([Softmax(draw(st.integers(0, 3))), ReduceMean(axes or (1,))]))
    graph = case_graph(Case(op, (TensorType(shape, DType.F32),)))
    return graph, in_places(draw, graph, channels_last if draw(st.booleans()) else lambda rank: tuple(range(rank)))


@st.composite
def signs(draw: st.DrawFn) -> tuple[Graph, dict[str, Place]]:
    channels, filters = draw(CHANNELS), draw(CHANNELS)
    spatial = tuple(draw(st.integers(3, 9)) for _ in range(2))
    kernel = tuple(draw(st.integers(1, 3)) for _ in range(2))
    strides, dilations = (tuple(draw(st.integers(1, 2)) for _ in range(2)) for _ in range(2))
    dilations = tuple(d if (k - 1) * d < n else 1 for k, d, n in zip(kernel, dilations, spatial, strict=True))
    begin, end = (tuple(draw(st.integers(0, k - 1)) for k in kernel) for _ in range(2))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    weights = rng.integers(-1, 2, (filters, channels, *kernel))
    if draw(st.booleans()):
        weights = 2 * (weights > 0) - 1
    op = SignConv(Window(kernel, strides, begin, end, dilations), 1, draw(st.booleans()))
    shape = (draw(st.integers(1, 2)), channels, *spatial)
    graph = case_graph(Case(op, (TensorType(shape, DType.I8), weights.astype(np.int8))))
    return graph, in_places(draw, graph, channels_last)


FAMILIES = {"pool": pools(), "copy": copies(), "elementwise": chains(), "walks": walks(), "signs": signs()}


KERNELS_OF = {
    "pool": {"pool"},
    "copy": {"copy"},
    "elementwise": {"elementwise"},
    "walks": {"reduce", "softmax"},
    "signs": {"integer-tiles"},
}


def accepted(graph: Graph, where: dict[str, Place], target: Target) -> list[Check]:
    problems = [
        (kernel, Problem(graph, region, where, target))
        for kernel in KERNELS.values()
        if kernel.name != "portable"
        for region in kernel.regions(graph, graph.nodes[0])
    ]
    values = feeds(graph)
    expected, tolerances = references(graph, values)
    return [
        Check(f"{kernel.name} {graph.text()} {where}", Trial(p, kernel, schedule), values, expected, tolerances)
        for kernel, p in problems
        if kernel.accepts(p) is None
        for schedule in kernel.schedules(p)[:2]
    ]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("target", TARGETS)
def test_random_problems(target: str, family: str) -> None:
    parsed = parse(target)
    checked: set[str] = set()
    count = PROBLEMS_OF.get(family, PROBLEMS)

    @settings(max_examples=4, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(st.lists(FAMILIES[family], min_size=count, max_size=count))
    def run(found: list[tuple[Graph, dict[str, Place]]]) -> None:
        todo = [check for graph, where in found for check in accepted(graph, where, parsed)]
        checked.update(c.trial.kernel.name for c in todo)
        if not todo:
            return
        library = TrialLibrary([c.trial for c in todo], parsed, flags=FLAGS)
        for i, check in enumerate(todo):
            whole = library.run(i, check.feeds)
            check.compare(whole)
            for value, result in library.run(i, check.feeds, apart=True).items():
                np.testing.assert_array_equal(result, whole[value])

    run()
    assert KERNELS_OF[family] <= checked
