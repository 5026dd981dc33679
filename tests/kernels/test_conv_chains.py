"""Chains of pointwise and depthwise convolutions: random shapes, windows, operators between, places and schedules."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgesmith.ir import DType, Graph, Node, TensorType
from edgesmith.kernels import KERNELS, Problem
from edgesmith.kernels.conv.chain import balanced
from edgesmith.kernels.conv.chain_kernel import ChainKernel
from edgesmith.ops import OPS, Operator
from edgesmith.ops.clip import Clip
from edgesmith.ops.conv import Conv
from edgesmith.ops.window import Window
from edgesmith.target import parse
from edgesmith.tune.trial import Trial, TrialLibrary
from instruction_sets import native_sets

from .problems import Check, feeds, places, references

FLAGS = ("-Werror", "-O1")
TARGETS = [f"native+{isa}" for isa in native_sets()]
CHAINS = {name: k for name, k in KERNELS.items() if isinstance(k, ChainKernel)}
POINT = Window((1, 1), (1, 1), (0, 0), (0, 0), (1, 1))
PROBLEMS = 10


class Network:
    """A graph under construction: a line of operators."""

    def __init__(self, shape: tuple[int, ...], seed: int = 0) -> None:
        self.types = {"x": TensorType(shape, DType.F32)}
        self.inputs, self.last = ["x"], "x"
        self.nodes: list[Node] = []
        self.constants: dict[str, np.ndarray] = {}
        self._rng = np.random.default_rng(seed)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.types[self.last].shape

    def constant(self, shape: Sequence[int], scale: float = 1.0) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = (scale * self._rng.normal(size=shape)).astype(np.float32)
        self.types[name] = TensorType.of(self.constants[name])
        return name

    def input(self, shape: tuple[int, ...]) -> str:
        name = f"in{len(self.inputs)}"
        self.inputs.append(name)
        self.types[name] = TensorType(shape, DType.F32)
        return name

    def add(self, op: Operator, *operands: str) -> str:
        """Apply an operator to the last value (first) and others."""
        name = f"v{len(self.nodes)}"
        read = (self.last, *operands)
        (self.types[name],) = op.infer([self.types[v] for v in read])
        self.nodes.append(Node(f"n{len(self.nodes)}", op, read, (name,)))
        self.last = name
        return name

    def conv(self, channels: int, window: Window = POINT, group: int = 1, bias: bool = True) -> None:
        filters = (channels, self.shape[1] // group, *window.kernel)
        weights = self.constant(filters, float(np.prod(filters[1:])) ** -0.5)
        self.add(Conv(window, group), weights, *([self.constant((channels,))] if bias else []))

    def graph(self, *more_outputs: str) -> Graph:
        return Graph(tuple(self.inputs), (self.last, *more_outputs), tuple(self.nodes), self.types, self.constants)


def follow(net: Network, kind: str) -> None:
    """Add elementwise operators."""
    if kind == "clip":
        net.add(Clip(0.0, 6.0))
    elif kind == "hard swish":
        net.add(OPS["HardSwish"]())
    elif kind == "swish":
        x = net.last
        net.add(OPS["Sigmoid"]())
        net.add(OPS["Mul"](), x)
    elif kind == "scale":
        net.add(OPS["Mul"](), net.constant((net.shape[1], 1, 1)))
    elif kind == "input":
        net.add(OPS["Add"](), net.input(net.shape))
    elif kind == "residual":
        net.add(OPS["Add"](), "x")


@st.composite
def chains(draw: st.DrawFn, kernel: ChainKernel) -> tuple[Graph, str]:
    """A graph that is one chain, and a layout."""
    channels = st.sampled_from([1, 3, 8, 12, 16, 17, 24, 33, 40])
    spatial = (draw(st.integers(1, 12)), draw(st.integers(1, 12)))
    k, d, pads = [], [], []
    for extent in spatial:
        size = draw(st.sampled_from([1, 2, 3, 3, 5]))
        dilation = draw(st.integers(1, 2))
        around = (draw(st.integers(0, size - 1)), draw(st.integers(0, size - 1)))
        if extent + sum(around) < (size - 1) * dilation + 1:
            size, dilation, around = 1, 1, (0, 0)
        k, d, pads = [*k, size], [*d, dilation], [*pads, around]
    strides = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    window = Window(tuple(k), strides, (pads[0][0], pads[1][0]), (pads[0][1], pads[1][1]), tuple(d))
    net = Network((draw(st.integers(1, 2)), draw(channels), *spatial), draw(st.integers(0, 100)))
    if kernel.pattern.expands:
        net.conv(draw(channels), bias=draw(st.booleans()))
        follow(net, draw(st.sampled_from(["", "clip", "hard swish", "swish", "scale", "input"])))
    net.conv(net.shape[1], window, net.shape[1], draw(st.booleans()))
    follow(net, draw(st.sampled_from(["", "clip", "swish", "scale", "input"])))
    if kernel.pattern.projects:
        net.conv(draw(channels), bias=draw(st.booleans()))
        same = net.shape == net.types["x"].shape
        follow(net, draw(st.sampled_from(["", "clip", "scale", "input", *(["residual"] * 3 * same)])))
    return net.graph(), draw(st.sampled_from(["channels_last", "channels_last", "part", "reversed"]))


def check_all(found: Sequence[tuple[Graph, str]], kernel: ChainKernel, target: str, samples: int) -> int:
    """Compare sampled schedules with the reference, whole and task by task; returns how many."""
    parsed = parse(target)
    todo = []
    for graph, layout in found:
        regions = list(kernel.regions(graph, graph.nodes[0]))
        assert len(regions[-1].nodes) == len(graph.nodes)
        problem = Problem(graph, regions[-1], places(graph, layout), parsed)
        if kernel.accepts(problem) is not None:
            assert layout != "channels_last"
            continue
        values = feeds(graph)
        expected, tolerances = references(graph, values)
        schedules = kernel.schedules(problem)
        for schedule in {id(s): s for s in schedules[:: max(1, len(schedules) // samples)]}.values():
            name = f"{graph.text()} {layout} {dict(schedule)}"
            todo.append(Check(name, Trial(problem, kernel, schedule), values, expected, tolerances))
    if not todo:
        return 0
    library = TrialLibrary([c.trial for c in todo], parsed, flags=FLAGS)
    for i, check in enumerate(todo):
        whole = library.run(i, check.feeds)
        check.compare(whole)
        for value, result in library.run(i, check.feeds, apart=True).items():
            np.testing.assert_array_equal(result, whole[value], err_msg=check.name)
    return len(todo)


@pytest.mark.toolchain
@pytest.mark.parametrize("kernel", CHAINS)
@pytest.mark.parametrize("target", TARGETS)
def test_random_chains(target: str, kernel: str) -> None:
    checked = []

    @settings(max_examples=3, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(st.lists(chains(CHAINS[kernel]), min_size=PROBLEMS, max_size=PROBLEMS))
    def run(found: list[tuple[Graph, str]]) -> None:
        checked.append(check_all(found, CHAINS[kernel], target, 4))

    run()
    assert sum(checked) > PROBLEMS


@pytest.mark.toolchain
@pytest.mark.parametrize("kernel", CHAINS)
def test_large_windows_are_computed_row_by_row(kernel: str) -> None:
    pattern = CHAINS[kernel].pattern
    net = Network((2, 9, 9, 8))
    if pattern.expands:
        net.conv(20)
    net.conv(net.shape[1], Window((13, 11), (2, 1), (6, 5), (6, 5), (1, 1)), net.shape[1])
    follow(net, "clip")
    if pattern.projects:
        net.conv(11)
    for target in TARGETS:
        assert check_all([(net.graph(), layout) for layout in ("channels_last", "part")], CHAINS[kernel], target, 4)
        problem = last_problem(net, kernel, target)
        assert not any("lines" in schedule for schedule in CHAINS[kernel].schedules(problem))


@pytest.mark.parametrize("isa", ["sse2", "avx2", "avx512"])
@pytest.mark.parametrize("kernel", CHAINS)
@pytest.mark.parametrize("size", [7, 112])
def test_planning_has_few_schedules_to_weigh(size: int, kernel: str, isa: str) -> None:
    pattern = CHAINS[kernel].pattern
    net = Network((1, 32, size, size))
    if pattern.expands:
        net.conv(192)
    net.conv(net.shape[1], Window((3, 3), (1, 1), (1, 1), (1, 1), (1, 1)), net.shape[1])
    if pattern.projects:
        net.conv(64)
    schedules = CHAINS[kernel].schedules(last_problem(net, kernel, f"x86_64-linux-gnu+{isa}"))
    assert 2 <= len(schedules) <= 40
    assert {s["rows"] % s["lines"] for s in schedules if s["rows"] < size} == {0}


def last_problem(net: Network, kernel: str, target: str) -> Problem:
    """The problem of the whole chain, channels innermost."""
    graph = net.graph()
    found = list(CHAINS[kernel].regions(graph, graph.nodes[0]))[-1]
    return Problem(graph, found, places(graph, "channels_last"), parse(target))


def inverted_residual() -> Network:
    net = Network((1, 8, 6, 6))
    net.conv(16)
    follow(net, "clip")
    net.conv(16, Window((3, 3), (1, 1), (1, 1), (1, 1), (1, 1)), 16)
    follow(net, "clip")
    net.conv(8)
    follow(net, "residual")
    return net


def labels(graph: Graph, kernel: str) -> list[str]:
    return [r.label for n in graph.nodes for r in KERNELS[kernel].regions(graph, n)]


def test_regions_grow_with_the_operators_at_the_end() -> None:
    graph = inverted_residual().graph()
    assert labels(graph, "inverted-residual") == ["Conv+Clip+Conv+Clip+Conv", "Conv+Clip+Conv+Clip+Conv+Add"]
    assert labels(graph, "separable") == ["Conv+Clip+Conv", "Conv+Clip+Conv+Add"]
    assert labels(graph, "expand-depthwise") == ["Conv+Clip+Conv", "Conv+Clip+Conv+Clip"]


@pytest.mark.parametrize("value", ["v1", "v3"])
def test_values_between_the_convolutions_have_no_other_reader(value: str) -> None:
    net = inverted_residual()
    assert labels(net.graph(value), "inverted-residual") == []


def test_only_operands_of_the_end_are_overwritten() -> None:
    own, shared = inverted_residual(), inverted_residual()
    follow(own, "input")
    target = parse("x86_64-linux-gnu+avx2")
    for net, expected in ((own, ("in1",)), (shared, ())):
        graph = net.graph()
        kernel = KERNELS["inverted-residual"]
        found = list(kernel.regions(graph, graph.nodes[0]))[-1]
        assert kernel.in_place(Problem(graph, found, places(graph, "channels_last"), target)) == expected


@pytest.mark.parametrize("length", [1, 2, 7, 13, 14, 112])
@pytest.mark.parametrize("most", [1, 3, 6, 14])
def test_balanced_tiles_cover_the_length(length: int, most: int) -> None:
    tiles = balanced(length, most)
    assert sum(size * count for size, count in tiles) == length
    assert sum(count for _, count in tiles) == -(-length // most)
    assert max(size for size, _ in tiles) <= most
