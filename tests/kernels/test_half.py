"""Products and sums of fp16: on ARM with FEAT_FP16, emulated; pools and reductions that read fp16 anywhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgesmith.ir import DType, Graph, Node, TensorType
from edgesmith.kernels import KERNELS, Kernel, Problem, Reject, refusal
from edgesmith.kernels.half.chunks import LONGEST, Chunks
from edgesmith.kernels.half.epilogue import HalfEpilogue
from edgesmith.kernels.half.window import half_window
from edgesmith.kernels.region import region
from edgesmith.ops.add import Add
from edgesmith.ops.average_pool import AveragePool
from edgesmith.ops.base import Case
from edgesmith.ops.cast import Cast
from edgesmith.ops.clip import Clip
from edgesmith.ops.conv import Conv
from edgesmith.ops.gemm import Gemm
from edgesmith.ops.global_average_pool import GlobalAveragePool
from edgesmith.ops.matmul import MatMul
from edgesmith.ops.max_pool import MaxPool
from edgesmith.ops.window import Window
from edgesmith.target import Target, parse
from edgesmith.toolchain import zig
from edgesmith.tune.trial import Trial, TrialLibrary
from edgesmith.verify.tolerance import region_bounds
from foreign import foreign_target, missing_emulator

from .problems import Check, References, case_graph, failures, feeds, places, spread, with_epilogue
from .test_foreign import ForeignTrials

pytestmark = pytest.mark.toolchain
HALF = parse("aarch64-linux-gnu+fp16")
TILES, DEPTHWISE = KERNELS["half-tiles"], KERNELS["half-depthwise"]


def halves(*shape: int) -> np.ndarray:
    values = np.random.default_rng(shape).standard_normal(shape)
    return values.astype(np.float16).astype(np.float32)


def convolution(shape: tuple[int, ...], filters: int, kernel: int, group: int = 1, **window: Any) -> Case:
    pads = (kernel // 2, kernel // 2)
    given = {"strides": (1, 1), "pads_begin": pads, "pads_end": pads, "dilations": (1, 1), **window}
    weights = halves(filters, shape[1] // group, kernel, kernel)
    bias = np.linspace(-1, 1, filters, dtype=np.float32)
    return Case(Conv(Window((kernel, kernel), **given), group), (TensorType(shape, DType.F32), weights, bias))


CASES = {
    "one chunk": convolution((1, 24, 5, 7), 20, 1),
    "parts of a run": convolution((2, 300, 3, 5), 33, 1),
    "kernel lines together": convolution((1, 17, 7, 6), 16, 3),
    "kernel lines alone": convolution((1, 43, 6, 9), 12, 3, strides=(2, 2)),
    "first layer": convolution((1, 3, 13, 12), 24, 3, strides=(2, 2)),
    "every other pixel": convolution((1, 12, 8, 9), 9, 1, strides=(2, 2)),
    "dilated": convolution((1, 50, 9, 8), 8, 3, dilations=(2, 2), pads_begin=(2, 1), pads_end=(0, 3)),
    "fully connected": Case(Gemm(transB=1), (TensorType((1, 200), DType.F32), halves(70, 200), halves(70))),
    "matrix": Case(MatMul(), (TensorType((13, 128), DType.F32), halves(128, 36))),
}
DEPTHWISE_CASES = {
    "depthwise": convolution((1, 24, 9, 10), 24, 3, 24),
    "depthwise, strided": convolution((2, 16, 8, 11), 16, 5, 16, strides=(2, 2)),
}


def in_halves(graph: Graph) -> Graph:
    """The graph reading fp16, the residual too, and with its result in fp16."""
    types, nodes = dict(graph.types), []
    for x in graph.inputs:
        types[x] = replace(types[x], dtype=DType.F16)
        types[f"{x}:f32"] = graph.type(x)
        nodes.append(Node(f"widen {x}", Cast(DType.F32), (x,), (f"{x}:f32",)))
    wide = set(graph.inputs)
    nodes += [replace(n, inputs=tuple(f"{v}:f32" if v in wide else v for v in n.inputs)) for n in graph.nodes]
    (y,) = graph.outputs
    types["half"] = replace(graph.type(y), dtype=DType.F16)
    nodes.append(Node("narrow", Cast(DType.F16), (y,), ("half",)))
    return Graph(graph.inputs, ("half",), tuple(nodes), types, graph.constants)


def problem_of(kernel: Kernel, graph: Graph, target: Target, layout: str = "channels_last") -> Problem:
    anchor = next(n for n in graph.nodes if n.name == "node")
    return Problem(graph, list(kernel.regions(graph, anchor))[-1], places(graph, layout), target)


def checks(kernel: Kernel, case: Case, name: str, target: Target, most: int) -> Iterator[Check]:
    """The node alone with its result in fp16, and with a residual in fp16 and a function after it."""
    plain = case_graph(case)
    chained = with_epilogue(plain)
    for graph, layout in ((in_halves(plain), "channels_last"), *([(in_halves(chained), "part")] if chained else [])):
        values = feeds(graph)
        expected = graph.reference(values)
        problem = problem_of(kernel, graph, target, layout)
        assert problem.region.outputs == ("half",) or kernel.name == "reduce", name
        assert refusal(kernel, problem) is None, (name, refusal(kernel, problem))
        for schedule in spread(kernel.schedules(problem), most):
            bounds = region_bounds(References(graph), problem.region.nodes, expected, {"node": (kernel, schedule)})
            label = f"{name} {problem.region.label} {dict(schedule)} {layout}"
            yield Check(label, Trial(problem, kernel, schedule), values, expected, bounds)


def alone(kernel: Kernel, case: Case) -> tuple[Problem, dict[str, np.ndarray]]:
    """The node with the Cast before it, its result as it is."""
    plain = case_graph(case)
    whole = in_halves(plain)
    graph = Graph(whole.inputs, plain.outputs, whole.nodes[:-1], whole.types, whole.constants)
    return problem_of(kernel, graph, HALF), feeds(graph)


needs_emulator = pytest.mark.skipif(bool(missing_emulator("fp16")), reason=missing_emulator("fp16"))


@needs_emulator
def test_products_agree_with_the_reference(tmp_path: Path) -> None:
    target = foreign_target("fp16")
    todo = [c for name, case in CASES.items() for c in checks(TILES, case, name, target, 2)]
    todo += [c for name, case in DEPTHWISE_CASES.items() for c in checks(DEPTHWISE, case, name, target, 3)]
    wrong = failures(todo, ForeignTrials(todo, target, tmp_path))
    assert not wrong, f"{len(wrong)} of {len(todo)} failed\n" + "\n".join(wrong[:20])


@needs_emulator
def test_errors_stay_below_the_stated_bound_and_are_those_of_fp16(tmp_path: Path) -> None:
    """Next to float64, alone; a result that came from sums in f32 would be far more accurate."""
    todo, exact, bounds = [], [], []
    for kernel, case in [(TILES, c) for c in CASES.values()] + [(DEPTHWISE, c) for c in DEPTHWISE_CASES.values()]:
        problem, values = alone(kernel, case)
        schedule = kernel.schedules(problem)[0]
        graph, node = problem.graph, problem.anchor
        x = values[graph.inputs[0]].astype(np.float32)
        operands = [x, *(graph.constants[v] for v in node.inputs[1:])]
        (result,) = node.op.reference(*(a.astype(np.float64) for a in operands))
        todo.append(Check(problem.region.label, Trial(problem, kernel, schedule), values, {}, {}))
        exact.append(result)
        bounds.append(kernel.rounding(node, operands, schedule))
    library = ForeignTrials(todo, HALF, tmp_path)
    for i, check in enumerate(todo):
        (got,) = library.run(i, check.feeds).values()
        error = np.abs(got - exact[i])
        assert (error <= bounds[i]).all(), check.name
        assert error.max() > 2.0**-12 * np.abs(exact[i]).max(), check.name


def followed(channels: int) -> Graph:
    """Exact sums, bounded, rounded, added to a residual of fp16 and rounded again."""
    rng = np.random.default_rng(channels)
    weights = rng.integers(-3, 4, (channels, 16, 1, 1)).astype(np.float32)
    given = {"strides": (1, 1), "pads_begin": (0, 0), "pads_end": (0, 0), "dilations": (1, 1)}
    graph = case_graph(Case(Conv(Window((1, 1), **given)), (TensorType((1, 16, 3, 5), DType.F32), weights)))
    (y,) = graph.outputs
    kind = graph.type(y)
    half = replace(kind, dtype=DType.F16)
    nodes = (
        *graph.nodes,
        Node("clip", Clip(-2.5, 40.0), (y,), ("clipped",)),
        Node("round", Cast(DType.F16), ("clipped",), ("rounded",)),
        Node("back", Cast(DType.F32), ("rounded",), ("again",)),
        Node("add", Add(), ("again", "residual"), ("sum",)),
    )
    types = {**graph.types, "clipped": kind, "rounded": half, "again": kind, "residual": kind, "sum": kind}
    return in_halves(Graph((*graph.inputs, "residual"), ("sum",), nodes, types, graph.constants))


@needs_emulator
def test_what_follows_in_fp16_has_the_bits_of_f32(tmp_path: Path) -> None:
    """Sums are exact here, so that nothing but the operators after them rounds."""
    todo = []
    for channels in (24, 20):
        graph = followed(channels)
        problem = problem_of(TILES, graph, HALF)
        assert HalfEpilogue(half_window(problem).epilogue, exact=True).possible
        rng = np.random.default_rng(3)
        x = rng.integers(-4, 5, (1, 16, 3, 5)).astype(np.float16)
        values = {"in0": x, "residual": rng.normal(size=(1, channels, 3, 5)).astype(np.float16)}
        expected = graph.reference(values)
        exact = dict.fromkeys(expected, 0.0)
        todo += [
            Check(str(schedule), Trial(problem, TILES, schedule), values, expected, exact)
            for schedule in spread(TILES.schedules(problem), 2)
        ]
    wrong = failures(todo, ForeignTrials(todo, HALF, tmp_path))
    assert not wrong, "\n".join(wrong)


def test_what_fp16_would_round_otherwise_stays_f32() -> None:
    """HardSwish rounds in between, and f32 sums are not numbers of fp16."""
    case = convolution((1, 24, 5, 7), 16, 1)
    window = half_window(problem_of(TILES, in_halves(with_epilogue(case_graph(case)) or pytest.fail()), HALF))
    assert not HalfEpilogue(window.epilogue, exact=True).possible
    bounded = half_window(problem_of(TILES, followed(24), HALF)).epilogue
    assert HalfEpilogue(bounded, exact=False).possible
    plain = half_window(problem_of(TILES, in_halves(case_graph(case)), HALF)).epilogue
    assert HalfEpilogue(plain, exact=False).possible


@pytest.mark.parametrize(
    ("case", "problem", "why"),
    [
        ("weights", {}, "weights are not of fp16"),
        ("bias", {}, "does not hold the bias"),
        ("target", {"target": parse("aarch64-linux-gnu+dotprod")}, "does not multiply fp16"),
        ("input", {}, "input is not of fp16"),
    ],
)
def test_refusals(case: str, problem: dict[str, Any], why: str) -> None:
    found = CASES["one chunk"]
    x, weights, bias = found.inputs
    assert isinstance(weights, np.ndarray) and isinstance(bias, np.ndarray)
    if case == "weights":
        weights = weights + np.float32(2.0**-20)
    elif case == "bias":
        bias = bias + np.float32(7e4)
    graph = case_graph(Case(found.op, (x, weights, bias)))
    if case == "input":
        made = Problem(graph, region(graph, graph.nodes, graph.nodes[0]), places(graph, "channels_last"), HALF)
    else:
        made = replace(problem_of(TILES, in_halves(graph), HALF), **problem)
    reject = TILES.accepts(made)
    assert isinstance(reject, Reject) and why in reject.reason
    if case == "weights":
        other = KERNELS["direct"]
        reject = refusal(other, made)
        assert reject is not None and "reads no f16" in reject.reason


def test_other_groups_are_refused() -> None:
    grouped = convolution((1, 24, 5, 5), 24, 3, 2)
    graph = in_halves(case_graph(grouped))
    assert TILES.accepts(problem_of(TILES, graph, HALF)) == Reject("2 groups")
    reject = DEPTHWISE.accepts(problem_of(DEPTHWISE, graph, HALF))
    assert reject is not None and "not depthwise" in reject.reason
    narrow = in_halves(case_graph(convolution((1, 12, 5, 5), 12, 3, 12)))
    reject = DEPTHWISE.accepts(problem_of(DEPTHWISE, narrow, HALF))
    assert reject is not None and "no whole vectors" in reject.reason


def test_an_input_that_is_also_the_residual_is_not_overwritten() -> None:
    """x + conv(x): the sum may lie where x does only if nothing reads x any more."""
    case = convolution((1, 16, 4, 4), 16, 1)
    graph = in_halves(with_epilogue(case_graph(case)) or pytest.fail())
    nodes = tuple(replace(n, inputs=("in0",)) if n.name == "widen residual" else n for n in graph.nodes)
    types = {v: t for v, t in graph.types.items() if v != "residual"}
    shared = Graph(("in0",), graph.outputs, nodes, types, graph.constants)
    assert "residual" in TILES.in_place(problem_of(TILES, graph, HALF))
    assert not TILES.in_place(problem_of(TILES, shared, HALF))


@pytest.mark.parametrize(
    ("chunks", "single", "together", "part", "count"),
    [
        (Chunks(1, 1, 128), True, 1, 128, 1),
        (Chunks(1, 1, 129), False, 0, 72, 2),
        (Chunks(3, 1, 48), False, 2, 48, 2),
        (Chunks(3, 1, 192), False, 0, 96, 6),
        (Chunks(3, 3, 60), False, 0, 60, 9),
    ],
)
def test_chunks(chunks: Chunks, single: bool, together: int, part: int, count: int) -> None:
    assert (chunks.single, chunks.together, chunks.part, chunks.count) == (single, together, part, count)
    assert chunks.part <= LONGEST and chunks.together * chunks.runs * chunks.run <= LONGEST


WINDOW = Window((3, 3), (2, 2), (1, 1), (1, 1), (1, 1))
READERS = {
    "pool": (MaxPool(WINDOW), AveragePool(WINDOW)),
    "reduce": (GlobalAveragePool(),),
}


def readers(target: Target, names: Sequence[str] = tuple(READERS)) -> list[Check]:
    shape = TensorType((1, 21, 9, 8), DType.F32)
    cases = [(name, Case(op, (shape,))) for name in names for op in READERS[name]]
    if not target.isa or target.lanes < 2:
        return []
    found = []
    for name, case in cases:
        kernel, plain = KERNELS[name], case_graph(case)
        graph = in_halves(plain)
        values = feeds(graph)
        expected = graph.reference(values)
        problem = problem_of(kernel, graph, target)
        assert refusal(kernel, problem) is None, refusal(kernel, problem)
        bounds = region_bounds(References(graph), graph.nodes, expected)
        found += [
            Check(f"{case.op} {schedule}", Trial(problem, kernel, schedule), values, expected, bounds)
            for schedule in kernel.schedules(problem)
        ]
    return found


def test_pools_and_means_read_fp16_here() -> None:
    target = parse("native")
    todo = readers(target)
    wrong = failures(todo, TrialLibrary([c.trial for c in todo], target, zig(), ("-O1",)))
    assert not wrong, "\n".join(wrong[:20])


@needs_emulator
def test_pools_and_means_read_fp16_there(tmp_path: Path) -> None:
    todo = readers(HALF)
    wrong = failures(todo, ForeignTrials(todo, HALF, tmp_path))
    assert not wrong, "\n".join(wrong[:20])
