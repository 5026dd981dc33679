"""Products with weights many of which are zero: every shape of lists, and what decides whether lists are used."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgesmith.ir import DType, Graph, TensorType, View
from edgesmith.kernels import KERNELS, Place, Problem
from edgesmith.kernels.sparse.pattern import SparseProduct, sparse_product
from edgesmith.kernels.zeros import zeros_of
from edgesmith.ops.base import Case
from edgesmith.ops.conv import Conv
from edgesmith.ops.gemm import Gemm
from edgesmith.ops.matmul import MatMul
from edgesmith.ops.window import Window
from edgesmith.plan.layout import channels_last
from edgesmith.plan.select import Selector
from edgesmith.target import Target, parse
from edgesmith.tune.trial import Trial, TrialLibrary
from foreign import foreign_target, missing_emulator

from .problems import Check, case_graph, failures, feeds, places, references, with_epilogue
from .test_foreign import ForeignTrials

FLAGS = ("-Werror", "-O1")
SPARSE = ("sparse-blocks", "sparse-elements")


def pruned(channels: int, steps: int, density: float, block: int, seed: int = 0) -> np.ndarray:
    """Weights (channels, steps) with zeros in blocks of output channels by one input channel; the last panel has none
    but zeros."""
    rng = np.random.default_rng(seed)
    kept = (rng.random((-(-channels // block), steps)) < density).repeat(block, axis=0)[:channels]
    kept[channels // 2 : channels // 2 + block] = False
    return (rng.normal(size=(channels, steps)) * kept).astype(np.float32)


def pointwise(weights: np.ndarray, size: tuple[int, int], *, stride: int = 1, batch: int = 1) -> Graph:
    channels, steps = weights.shape
    bias = np.random.default_rng(1).normal(size=channels).astype(np.float32)
    window = Window((1, 1), (stride, stride), (0, 0), (0, 0), (1, 1))
    x = TensorType((batch, steps, *size), DType.F32)
    graph = with_epilogue(case_graph(Case(Conv(window, 1), (x, weights[:, :, None, None], bias))))
    assert graph is not None
    return graph


def problem_of(graph: Graph, where: dict[str, Place], target: Target, kernel: str) -> Problem:
    return Problem(graph, list(KERNELS[kernel].regions(graph, graph.nodes[0]))[-1], where, target)


def checks(graph: Graph, where: dict[str, Place], target: Target, kernels: tuple[str, ...] = SPARSE) -> list[Check]:
    values = feeds(graph)
    expected, tolerances = references(graph, values)
    found = []
    for name in kernels:
        problem = problem_of(graph, where, target, name)
        assert KERNELS[name].accepts(problem) is None
        schedules = list(KERNELS[name].schedules(problem))
        for schedule in {n: schedules[n * (len(schedules) - 1) // 2] for n in range(3)}.values():
            trial = Trial(problem, KERNELS[name], schedule)
            found.append(Check(f"{name} {graph.text()} {dict(schedule)}", trial, values, expected, tolerances))
    return found


def with_gaps(graph: Graph) -> dict[str, Place]:
    """Channels last, each image row followed by a gap, so that rows of pixels are not evenly spaced."""
    found = {}
    for value, kind in graph.types.items():
        n, c, h, w = kind.shape if kind.rank == 4 else (1, 1, 1, 1)
        wide = View.dense(TensorType((n, c, h, w + 3), kind.dtype), channels_last(4))
        found[value] = Place(value, wide.slice((0,) * 4, (n, c, h, w)) if kind.rank == 4 else View.dense(kind))
    return found


def only_output_last(graph: Graph) -> dict[str, Place]:
    """The input channel by channel, as a network gets it."""
    last = places(graph, "channels_last")
    return places(graph, "row_major") | {v: last[v] for v in last if v not in graph.inputs or v == "residual"}


def everything(target: Target) -> list[Check]:
    todo: list[Check] = []
    small = replace(target, l1_bytes=4096, l2_bytes=16384)
    for channels, steps, size, block in ((70, 33, (5, 7), 1), (64, 40, (9, 9), 16), (5, 90, (4, 8), 16)):
        graph = pointwise(pruned(channels, steps, 0.3, block), size, batch=2)
        kernels = SPARSE if block > 1 or target.lanes == 1 else SPARSE[1:]
        todo += checks(graph, places(graph, "channels_last"), target, kernels)
        graph = pointwise(pruned(channels, steps, 0.3, block), size)
        todo += checks(graph, only_output_last(graph), target, kernels)
    # Panels shared out among tasks, rows copied side by side: small caches, gaps, rows a multiple of 4096 bytes apart.
    graph = pointwise(pruned(200, 64, 0.3, 16), (6, 5))
    todo += checks(graph, places(graph, "channels_last"), small, SPARSE[:1])
    graph = pointwise(pruned(40, 30, 0.3, 16), (8, 9), stride=2, batch=2)
    todo += checks(graph, with_gaps(graph), target, SPARSE[:1])
    graph = pointwise(pruned(16, 1024, 0.1, 16), (5, 5))
    todo += checks(graph, places(graph, "channels_last"), small, SPARSE[:1])
    for rows in (1, 3, 19):
        weights = pruned(48, 50, 0.4, 16)
        x = TensorType((rows, 50), DType.F32)
        graph = case_graph(Case(Gemm(2.0, 1.0, 0, 1), (x, weights, np.ones(48, np.float32))))
        todo += checks(graph, places(graph, "row_major"), target, SPARSE[:1] if rows < 19 else SPARSE)
    graph = case_graph(Case(MatMul(), (TensorType((2, 20, 50), DType.F32), np.ascontiguousarray(weights.T))))
    todo += checks(graph, places(graph, "row_major"), target)
    graph = case_graph(Case(MatMul(), (TensorType((17, 32), DType.F32), np.zeros((32, 20), np.float32))))
    return todo + checks(graph, places(graph, "row_major"), target)


@pytest.mark.toolchain
@pytest.mark.parametrize(("target", "every"), [("native", 1), ("native+avx2", 3)])
def test_sparse_products_agree_with_the_reference(target: str, every: int) -> None:
    found = parse(target)
    todo = everything(found)[::every]
    if every == 1:
        schedules = [c.trial.schedule for c in todo if c.trial.kernel.name == "sparse-blocks"]
        assert {s["packed"] for s in schedules} == {0, 1} and max(s["vectors"] for s in schedules) > 1
        assert any(len(set(c.trial.code.task_costs)) > 1 for c in todo)
    wrong = failures(todo, TrialLibrary([c.trial for c in todo], found, flags=FLAGS))
    assert not wrong, "\n".join(wrong[:5])


@pytest.mark.toolchain
def test_sanitizers_find_nothing() -> None:
    found = parse("native")
    todo = everything(found)[::3]
    flags = (*FLAGS, "-fsanitize=undefined", "-fno-sanitize-recover=undefined", "-fsanitize-trap=undefined")
    wrong = failures(todo, TrialLibrary([c.trial for c in todo], found, flags=flags))
    assert not wrong, "\n".join(wrong[:5])


@pytest.mark.toolchain
@pytest.mark.parametrize("isa", ["neon", "rvv128"])
def test_sparse_products_on_other_processors(isa: str, tmp_path: Path) -> None:
    if missing := missing_emulator(isa):
        pytest.skip(missing)
    target = foreign_target(isa)
    todo = everything(target)[::5]
    assert {c.trial.kernel.name for c in todo} == set(SPARSE)
    wrong = failures(todo, ForeignTrials(todo, target, tmp_path))
    assert not wrong, "\n".join(wrong[:5])


def test_lists_hold_every_weight_once() -> None:
    target = parse("x86_64-linux-gnu+avx2")
    weights = pruned(45, 31, 0.3, 8)
    graph = pointwise(weights, (4, 4))
    sparse = sparse_product(problem_of(graph, places(graph, "channels_last"), target, "sparse-blocks"))
    assert isinstance(sparse, SparseProduct)
    for vectors in (1, 2, 4):
        lists, width = sparse.lists(vectors), vectors * target.lanes
        dense = np.zeros((48, 31), np.float32)
        at = 0
        for panel, (a, b) in enumerate(zip(lists.starts, lists.starts[1:], strict=False)):
            here = min(width, 48 - panel * width)
            for step in lists.steps[a:b]:
                dense[panel * width : panel * width + here, step] = lists.weights[at : at + here]
                at += here
        assert at == lists.weights.size
        np.testing.assert_array_equal(dense[:45], weights)


def test_dense_weights_are_refused_with_their_density() -> None:
    target = parse("x86_64-linux-gnu+avx2")
    reasons = {}
    for density in (1.0, 0.9, 0.6):
        weights = pruned(64, 64, density, 1)
        weights[weights == 0] = 1.0 if density == 1.0 else 0.0
        graph = pointwise(weights, (4, 4))
        for name in SPARSE:
            reject = KERNELS[name].accepts(problem_of(graph, places(graph, "channels_last"), target, name))
            assert reject is not None
            reasons[name, density] = reject.reason
    assert reasons["sparse-blocks", 1.0] == "density 1.00 of the weights: no zeros to skip"
    assert "of 8x1 blocks; pays below 0.85" in reasons["sparse-blocks", 0.6]
    assert "of the weights; pays below 0.5" in reasons["sparse-elements", 0.6]


def test_patterns_are_told_apart_and_dense_layers_are_not() -> None:
    """Choices and measurements are shared by equal signatures."""
    target = parse("x86_64-linux-gnu+avx2")

    def problem(weights: np.ndarray) -> Problem:
        graph = pointwise(weights, (4, 4))
        return problem_of(graph, places(graph, "channels_last"), target, "gemm")

    rng = np.random.default_rng(0)
    dense = [rng.normal(size=(64, 64)).astype(np.float32) for _ in range(2)]
    mask = pruned(64, 64, 0.25, 16) != 0
    assert problem(dense[0]).signature == problem(dense[1]).signature
    assert problem(dense[0] * mask).signature == problem(dense[1] * mask).signature
    assert problem(dense[0] * mask).signature != problem(dense[0]).signature
    assert problem(dense[0] * mask).signature != problem(dense[0] * mask[::-1]).signature
    selector = Selector(target)
    chosen = [selector.choose(problem(w)).kernel.name for w in (dense[0], dense[0] * mask, dense[1])]
    assert chosen == ["gemm", "sparse-blocks", "gemm"]


def test_fewer_blocks_are_predicted_to_be_faster() -> None:
    target = parse("x86_64-linux-gnu+avx512")
    for name, densities in (("sparse-blocks", (0.8, 0.5, 0.25, 0.1)), ("sparse-elements", (0.45, 0.25, 0.1))):
        times = []
        for density in densities:
            graph = pointwise(pruned(256, 256, density, 16), (14, 14))
            problem = problem_of(graph, places(graph, "channels_last"), target, name)
            times.append(min(KERNELS[name].cost(problem, s) for s in KERNELS[name].schedules(problem)))
        assert times == sorted(times, reverse=True)


def test_scalars_are_dense() -> None:
    """Folding leaves numpy's scalars among the constants."""
    assert zeros_of(np.float32(0)).pattern == ""
