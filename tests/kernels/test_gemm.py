"""Matrix products: cache blocking, passes over the reduction, rows that are not evenly spaced, Strassen's algorithm."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgesmith.ir import DType, Graph, Node, TensorType, View
from edgesmith.kernels import KERNELS, Place, Problem
from edgesmith.kernels.gemm.blocking import Blocking, Extents, blockings
from edgesmith.kernels.gemm.product import split_product
from edgesmith.kernels.rounding import gamma
from edgesmith.ops.base import Case
from edgesmith.ops.conv import Conv
from edgesmith.ops.gemm import Gemm
from edgesmith.ops.matmul import MatMul
from edgesmith.ops.window import Window
from edgesmith.plan.layout import channels_last
from edgesmith.target import Target, parse
from edgesmith.tune.trial import Trial, TrialLibrary
from edgesmith.verify.tolerance import region_bounds

from .problems import Check, References, case_graph, feeds, places, references, with_epilogue

FLAGS = ("-Werror", "-O1")


def small_caches(target: Target) -> Target:
    """A target on which small problems are blocked in every way."""
    return replace(target, l1_bytes=4096, l2_bytes=16384)


def pointwise(channels: int, filters: int, size: tuple[int, int], *, stride: int = 1, batch: int = 1) -> Graph:
    rng = np.random.default_rng(channels)
    weights = (rng.normal(size=(filters, channels, 1, 1)) / np.sqrt(channels)).astype(np.float32)
    window = Window((1, 1), (stride, stride), (0, 0), (0, 0), (1, 1))
    x = TensorType((batch, channels, *size), DType.F32)
    graph = with_epilogue(case_graph(Case(Conv(window, 1), (x, weights, rng.normal(size=filters).astype(np.float32)))))
    assert graph is not None
    return graph


def in_bands(graph: Graph) -> dict[str, Place]:
    """Channels last, each image row followed by a gap, so that neither rows of pixels nor images are evenly spaced."""
    found = {}
    for value, kind in graph.types.items():
        n, c, h, w = kind.shape if kind.rank == 4 else (1, 1, 1, 1)
        wide = View.dense(TensorType((n, c, h, w + 3), kind.dtype), channels_last(4))
        found[value] = Place(value, wide.slice((0,) * 4, (n, c, h, w)) if kind.rank == 4 else View.dense(kind))
    return found


def checks(graph: Graph, where: dict[str, Place], target: Target, name: str = "gemm") -> list[Check]:
    kernel = KERNELS[name]
    region = list(kernel.regions(graph, graph.nodes[0]))[-1]
    problem = Problem(graph, region, where, target)
    assert kernel.accepts(problem) is None
    values = feeds(graph)
    expected, tolerances = references(graph, values)
    found = list(kernel.schedules(problem))
    chosen = {s: found[s * (len(found) - 1) // 7] for s in range(8)}
    return [
        Check(f"{graph.text()} {dict(s)}", Trial(problem, kernel, s), values, expected, tolerances)
        for s in {tuple(s.items()): s for s in chosen.values()}.values()
    ]


@pytest.mark.toolchain
def test_blocked_products_agree_with_the_reference() -> None:
    target = small_caches(parse("native"))
    todo: list[Check] = []
    for channels, filters, size in ((200, 70, (5, 7)), (512, 24, (4, 8)), (33, 200, (6, 9)), (1024, 9, (3, 5))):
        graph = pointwise(channels, filters, size)
        todo += checks(graph, places(graph, "channels_last"), target)
        todo += checks(graph, places(graph, "row_major") | _output_last(graph), target)
    for stride, size in ((2, (8, 10)), (2, (7, 9)), (3, (10, 10))):
        graph = pointwise(160, 40, size, stride=stride, batch=2)
        todo += checks(graph, places(graph, "channels_last"), target)
        todo += checks(graph, in_bands(graph), target)
    shapes = {tuple(sorted(_traits(c).items())) for c in todo}
    assert {t for s in shapes for t in s} >= {("packed", True), ("passes", True), ("grouped", True)}
    compare(todo, target)


@pytest.mark.toolchain
def test_transposed_left_operand() -> None:
    target = small_caches(parse("native"))
    weights = np.random.default_rng(0).normal(size=(90, 21)).astype(np.float32)
    graph = case_graph(Case(Gemm(transA=True), (TensorType((90, 13), DType.F32), weights)))
    compare(checks(graph, places(graph, "row_major"), target), target)


@pytest.mark.toolchain
@pytest.mark.parametrize("rows", [1, 3])
def test_few_rows(rows: int) -> None:
    """Every number of streams, with reductions that they do not divide and channels that fill no panel."""
    target = parse("native")
    todo = []
    for steps, channels in ((6, 5), (131, 77), (512, 40)):
        rng = np.random.default_rng(steps)
        weights, bias = (rng.normal(size=s).astype(np.float32) for s in ((channels, steps), channels))
        graph = with_epilogue(case_graph(Case(Gemm(transB=1), (TensorType((rows, steps), DType.F32), weights, bias))))
        assert graph is not None
        todo += checks(graph, places(graph, "row_major"), target, "gemv")
        todo += checks(graph, places(graph, "part"), target, "gemv")
    assert {c.trial.schedule["streams"] for c in todo} >= {2, 3, 4}
    compare(todo, target)


@pytest.mark.toolchain
def test_both_operands_at_run_time() -> None:
    """Transposed operands, slices, operands shared by slices, channels that fill no panel, an epilogue."""
    target = parse("native")
    f32 = DType.F32
    cases = [
        (MatMul(), (3, 4, 17, 40), (3, 4, 40, 37)),
        (MatMul(), (2, 1, 9, 16), (3, 16, 64)),
        (MatMul(), (50, 70), (70, 9)),
        (Gemm(transB=1), (23, 33), (45, 33)),
        (Gemm(transA=1), (33, 23), (33, 45)),
    ]
    todo = []
    for op, a, b in cases:
        graph = case_graph(Case(op, (TensorType(a, f32), TensorType(b, f32))))
        graph = with_epilogue(graph) if len(a) == 2 else graph
        assert graph is not None
        for layout in ("row_major", "part") if len(a) == 2 else ("row_major",):
            todo += checks(graph, places(graph, layout), target, "dynamic-gemm")
    compare(todo, target)


def compare(todo: list[Check], target: Target) -> None:
    library = TrialLibrary([c.trial for c in todo], target, flags=FLAGS)
    for i, check in enumerate(todo):
        whole = library.run(i, check.feeds)
        check.compare(whole)
        for value, result in library.run(i, check.feeds, apart=True).items():
            np.testing.assert_array_equal(result, whole[value])


def _output_last(graph: Graph) -> dict[str, Place]:
    last = places(graph, "channels_last")
    return {v: last[v] for v in last if v not in graph.inputs or v == "residual"}


def _traits(check: Check) -> dict[str, bool]:
    blocking = Blocking.of(check.trial.schedule)
    product = split_product(check.trial.problem)
    return {
        "packed": blocking.packed,
        "passes": blocking.depth < product.steps,
        "grouped": blocking.panels * blocking.tile.vectors * product.problem.target.lanes < product.channels,
    }


@pytest.mark.parametrize("steps", [1, 7, 300, 5000])
@pytest.mark.parametrize("channels", [1, 24, 1000])
@pytest.mark.parametrize("rows", [1, 49, 12544])
@pytest.mark.parametrize("target", ["x86_64-linux-gnu+avx2", "x86_64-linux-gnu+avx512"])
def test_blockings_are_few_and_within_the_problem(target: str, rows: int, channels: int, steps: int) -> None:
    e = Extents(parse(target), rows, channels, steps, steps, 1)
    found = list(blockings(e))
    assert 1 <= len(found) <= 80
    assert len(set(found)) == len(found)
    for b in found:
        assert b.tile.registers < e.target.registers
        assert sum(n for _, n in b.passes(steps)) == steps
        assert b.cycles(e) >= rows * channels * steps / e.target.lanes / 2 * 0.99
        assert Blocking.of(b.schedule) == b


def test_kernel_without_a_vectors_target_is_refused() -> None:
    graph = case_graph(Case(Gemm(), (TensorType((2, 3), DType.F32), np.ones((3, 4), np.float32))))
    node: Node = graph.nodes[0]
    kernel = KERNELS["gemm"]
    (region,) = kernel.regions(graph, node)
    reject = kernel.accepts(Problem(graph, region, places(graph, "row_major"), parse("portable")))
    assert reject is not None
    assert "portable" in reject.reason


def strassen_problem(graph: Graph, layout: str, target: Target) -> Problem:
    region = list(KERNELS["strassen"].regions(graph, graph.nodes[0]))[-1]
    return Problem(graph, region, places(graph, layout), target)


@pytest.mark.toolchain
def test_strassen_stays_within_its_bound() -> None:
    """Against float64; the bound is of use: no more than some times that of the direct sum."""
    target = parse("native")
    wide = 2 * target.lanes
    todo = []
    for steps, channels, size in ((66, 4 * wide, (9, 11)), (128, 6 * wide, (12, 12)), (100, 5 * wide, (31, 9))):
        graph = pointwise(steps, channels, size)
        problem = strassen_problem(graph, "channels_last", target)
        assert KERNELS["strassen"].accepts(problem) is None
        values = feeds(graph)
        with np.errstate(all="ignore"):
            expected = graph.reference(values)
        for schedule in KERNELS["strassen"].schedules(problem):
            computed = {graph.nodes[0].name: (KERNELS["strassen"], schedule)}
            tolerances = region_bounds(References(graph), problem.region.nodes, expected, computed)
            todo.append(
                Check(str(schedule), Trial(problem, KERNELS["strassen"], schedule), values, expected, tolerances)
            )
    compare(todo, target)


@pytest.mark.parametrize("blocks", [1, 3])
@pytest.mark.parametrize("case", ["conv", "gemm", "matmul"])
def test_rounding_bound_of_strassen(case: str, blocks: int) -> None:
    """The same algorithm in numpy's float32 errs by less than the bound, which is of the size of the direct sum's."""
    rng = np.random.default_rng(1)
    x, w = rng.normal(size=(42, 64)).astype(np.float32), rng.normal(size=(64, 32)).astype(np.float32)
    node, operands = {
        "conv": (
            Conv(Window((1, 1), (1, 1), (0, 0), (0, 0), (1, 1)), 1),
            [x.T.reshape(1, 64, 6, 7), w.T.reshape(32, 64, 1, 1)],
        ),
        "gemm": (Gemm(2.0, 1.0, 1, 1), [np.ascontiguousarray(x.T), np.ascontiguousarray(w.T)]),
        "matmul": (MatMul(), [x.reshape(2, 21, 64), w]),
    }[case]
    factor = 2.0 if case == "gemm" else 1.0
    got = KERNELS["strassen"].rounding(Node("n", node, ("x", "w"), ("y",)), operands, {"blocks": blocks})
    assert got is not None
    bound = np.moveaxis(got, 1, -1).reshape(42, 32) if case == "conv" else got.reshape(42, 32)
    exact = factor * (x.astype(np.float64) @ w)
    u = DType.F32.unit_roundoff
    direct = gamma(64, DType.F32) * factor * (np.abs(x) @ np.abs(w).astype(np.float64))
    assert (bound > u * np.abs(exact)).all()
    assert (bound / direct).mean() < 8
    if blocks == 1:
        made = strassen_in_float32(x, np.float32(factor) * w)
        assert (np.abs(made - exact) <= bound).all()
        assert (np.abs(made - exact) / bound).max() > 0.01


def strassen_in_float32(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """One level of the algorithm on matrices with even sides."""
    (a, b), (c, d) = (np.hsplit(r, 2) for r in np.vsplit(x, 2))
    (e, f), (g, h) = (np.hsplit(r, 2) for r in np.vsplit(w, 2))
    s1, s3 = c + d, a - c
    s2 = s1 - a
    t1, t3 = f - e, h - f
    t2 = h - t1
    first = a @ e
    u2 = first + s2 @ t2
    u3, p5 = u2 + s3 @ t3, s1 @ t1
    left, right = first + b @ g, u2 + p5 + (b - s2) @ h
    return np.block([[left, right], [u3 + d @ (g - t2), u3 + p5]])
