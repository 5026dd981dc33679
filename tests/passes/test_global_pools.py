"""Means over all of space."""

from __future__ import annotations

import pytest

from edgesmith.ir import DType, Op
from edgesmith.ops.average_pool import AveragePool
from edgesmith.ops.reductions import ReduceMean
from edgesmith.ops.window import Window

from .graphs import Sketch, kinds, optimized

RULE = "global-average-pool"


def pool(kernel: tuple[int, int], pad: int = 0) -> AveragePool:
    return AveragePool(Window(kernel, (2, 2), (pad, pad), (pad, pad), (1, 1)))


@pytest.mark.parametrize("op", [ReduceMean((2, 3)), pool((5, 6))], ids=str)
def test_whole_images(op: Op) -> None:
    s = Sketch()
    assert kinds(optimized(s.graph(s.add(op, s.input(2, 3, 5, 6))), RULE)[0]) == ["GlobalAveragePool"]


def test_dropped_axes_need_a_reshape() -> None:
    s = Sketch()
    y = s.add(ReduceMean((2, 3), 0), s.input(2, 3, 5, 6))
    assert kinds(optimized(s.graph(y), RULE)[0]) == ["GlobalAveragePool", "Reshape"]


@pytest.mark.parametrize("op", [ReduceMean((3,)), ReduceMean((1, 2, 3)), pool((5, 5)), pool((5, 6), 1)], ids=str)
def test_parts_of_images(op: Op) -> None:
    s = Sketch()
    result, report = optimized(s.graph(s.add(op, s.input(2, 3, 5, 6))), RULE)
    assert kinds(result) == [op.name] and len(report.skipped) == 1


def test_means_of_sequences() -> None:
    s = Sketch()
    result, report = optimized(s.graph(s.add(ReduceMean((2,)), s.input(2, 7, 16))), RULE)
    assert kinds(result) == ["ReduceMean"] and "sequence" in report.reasons("reducemean0")[RULE]


def test_other_types() -> None:
    s = Sketch()
    y = s.add(ReduceMean((2, 3)), s.input(2, 3, 5, 6, dtype=DType.F64))
    assert kinds(optimized(s.graph(y), RULE)[0]) == ["ReduceMean"]
