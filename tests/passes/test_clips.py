"""Clips."""

from __future__ import annotations

import numpy as np
import pytest

from edgesmith.ir import DType, Op
from edgesmith.ops.clip import Clip, RunTimeClip
from edgesmith.ops.relu import Relu
from edgesmith.ops.variadic import Max, Min

from .graphs import Sketch, optimized

RULE = "clips"


@pytest.mark.parametrize(
    ("ops", "expected"),
    [
        ([Clip(0.0)], [Relu()]),
        ([Clip(0.0, np.inf)], [Relu()]),
        ([Relu(), Clip(0.0, 6.0)], [Clip(0.0, 6.0)]),
        ([Relu(), Clip(-1.0, 6.0)], [Clip(0.0, 6.0)]),
        ([Clip(-1.0, 1.0), Clip(-0.5, 2.0)], [Clip(-0.5, 1.0)]),
        ([Clip(-1.0, 1.0), Clip(2.0, 3.0)], [Clip(2.0, 2.0)]),
        ([Clip(high=1.0), Relu(), Relu()], [Clip(high=1.0), Relu(), Relu()]),
        ([Clip(1.0, -1.0), Clip(-2.0, 2.0)], [Clip(1.0, -1.0), Clip(-2.0, 2.0)]),
    ],
    ids=str,
)
def test_chains(ops: list[Op], expected: list[Op]) -> None:
    s = Sketch()
    x = s.input(64)
    for op in ops:
        x = s.add(op, x)
    feeds = {"x0": np.linspace(-7, 7, 64, dtype=np.float32)}
    assert [n.op for n in optimized(s.graph(x), RULE, feeds=feeds)[0].nodes] == expected


@pytest.mark.parametrize("first", [False, True])
def test_min_and_max_with_numbers(first: bool) -> None:
    s = Sketch()
    x, low, high = s.input(3, 4), s.constant(0.0), s.constant(np.full((1, 1), 0.5, np.float32))
    x = s.add(Max(), *((low, x) if first else (x, low)))
    x = s.add(Min(), *((high, x) if first else (x, high)))
    assert [n.op for n in optimized(s.graph(x), RULE)[0].nodes] == [Clip(0.0, 0.5)]


def test_what_is_no_clip() -> None:
    s = Sketch()
    x, i = s.input(3, 4), s.input(3, dtype=DType.I32)
    nan = s.constant(np.nan)
    outputs = [
        s.add(Max(), x, s.random(4)),
        s.add(Min(), x, s.constant(np.ones((2, 1, 1)))),
        s.add(Max(), x, x, x),
        s.add(Min(), x, nan),
        s.add(Max(), i, s.constant(np.int32([0]))),
        s.add(RunTimeClip(), x, s.constant(0.0), s.constant(1.0)),
    ]
    graph = s.graph(*outputs)
    assert optimized(graph, RULE)[0] is graph
