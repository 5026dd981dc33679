"""Convolutions in register tiles: every schedule, on windows that hang over each border."""

from __future__ import annotations

import numpy as np
import pytest

from edgesmith.ir import DType, TensorType
from edgesmith.kernels import KERNELS, Problem, Reject
from edgesmith.ops.base import Case
from edgesmith.ops.conv import Conv
from edgesmith.ops.window import Window
from edgesmith.target import parse
from edgesmith.tune.trial import Trial, TrialLibrary

from .problems import Check, case_graph, feeds, places, references, with_epilogue

TARGET = parse("native")
Pair = tuple[int, int]


def conv(
    x: tuple[int, int, int, int],
    filters: int,
    kernel: Pair,
    group: int = 1,
    strides: Pair = (1, 1),
    begin: Pair = (0, 0),
    end: Pair = (0, 0),
    dilations: Pair = (1, 1),
) -> Case:
    rng = np.random.default_rng(3)
    weights = rng.standard_normal((filters, x[1] // group, *kernel), np.float32)
    bias = rng.standard_normal(filters, np.float32)
    op = Conv(Window(kernel, strides, begin, end, dilations), group)
    return Case(op, (TensorType(x, DType.F32), weights, bias))


CASES = {
    "depthwise-tile": [
        conv((2, 19, 9, 13), 19, (3, 3), 19, (1, 1), (1, 1), (1, 1)),
        conv((1, 24, 11, 10), 24, (5, 3), 24, (2, 1), (2, 0), (1, 2)),
        conv((1, 5, 9, 9), 5, (3, 3), 5, (1, 2), (2, 2), (2, 2), (2, 2)),
    ],
    "grouped": [conv((2, 20, 8, 7), 20, (3, 3), 5, (1, 1), (1, 1), (1, 1)), conv((1, 12, 7, 9), 12, (3, 1), 6, (2, 2))],
    "indirect": [
        conv((2, 6, 7, 5), 20, (3, 3), 1, (1, 1), (1, 1), (1, 1)),
        conv((1, 12, 9, 8), 10, (3, 2), 2, (2, 2), (1, 0), (1, 1), (2, 1)),
    ],
    "direct": [
        conv((2, 7, 6, 9), 20, (3, 3), 1, (2, 2), (1, 1), (1, 1)),
        conv((1, 3, 12, 12), 9, (9, 8), 1, (2, 1), (4, 4), (4, 3)),
    ],
}


def all_schedules(name: str) -> list[Check]:
    found = []
    for number, case in enumerate(CASES[name]):
        graph = with_epilogue(case_graph(case))
        assert graph is not None
        values = feeds(graph)
        expected, bounds = references(graph, values)
        region = list(KERNELS[name].regions(graph, graph.nodes[0]))[-1]
        for layout in ("channels_last", "part"):
            problem = Problem(graph, region, places(graph, layout), TARGET)
            if name == "indirect" and layout == "part":
                assert isinstance(KERNELS[name].accepts(problem), Reject)
                continue
            assert KERNELS[name].accepts(problem) is None
            for schedule in KERNELS[name].schedules(problem):
                trial = Trial(problem, KERNELS[name], schedule)
                found.append(Check(f"{name} {number} {dict(schedule)} {layout}", trial, values, expected, bounds))
    return found


@pytest.mark.toolchain
@pytest.mark.parametrize("name", CASES)
def test_every_schedule_agrees_with_the_reference(name: str) -> None:
    todo = all_schedules(name)
    library = TrialLibrary([c.trial for c in todo], TARGET, flags=("-Werror", "-O1"))
    for i, check in enumerate(todo):
        whole = library.run(i, check.feeds)
        check.compare(whole)
        for value, result in library.run(i, check.feeds, apart=True).items():
            np.testing.assert_array_equal(result, whole[value], err_msg=f"{check.name}: depends on the split")


def reason(name: str, case: Case) -> str:
    graph = case_graph(case)
    (region, *_) = KERNELS[name].regions(graph, graph.nodes[0])
    reject = KERNELS[name].accepts(Problem(graph, region, places(graph, "channels_last"), TARGET))
    assert reject is not None
    return reject.reason


def test_kernels_say_what_they_do_not_take() -> None:
    assert "too many" in reason("depthwise-tile", conv((1, 8, 40, 40), 8, (31, 31), 8))
    assert "depthwise" in reason("grouped", conv((1, 8, 5, 5), 8, (3, 3), 8))
    assert "lanes" in reason("grouped", conv((1, 6, 5, 5), 6, (3, 3), 2))
    assert "filters for" in reason("grouped", conv((1, 8, 5, 5), 16, (3, 3), 2))
    assert "1x1" in reason("indirect", conv((1, 8, 5, 5), 8, (1, 1)))


@pytest.mark.parametrize("isa", ["sse2", "avx2", "avx512"])
def test_planning_has_few_schedules_to_weigh(isa: str) -> None:
    target = parse(f"x86_64-linux-gnu+{isa}")
    layers = {
        "depthwise-tile": conv((1, 96, 56, 56), 96, (3, 3), 96, (1, 1), (1, 1), (1, 1)),
        "grouped": conv((1, 64, 28, 28), 64, (3, 3), 16, (1, 1), (1, 1), (1, 1)),
        "indirect": conv((1, 128, 28, 28), 128, (3, 3), 1, (2, 2), (1, 1), (1, 1)),
        "direct": conv((1, 128, 28, 28), 128, (3, 3), 1, (2, 2), (1, 1), (1, 1)),
    }
    for name, case in layers.items():
        graph = case_graph(case)
        (region, *_) = KERNELS[name].regions(graph, graph.nodes[0])
        problem = Problem(graph, region, places(graph, "channels_last"), target)
        assert KERNELS[name].accepts(problem) is None
        assert 2 <= len(KERNELS[name].schedules(problem)) <= 50
