"""Concat, Split, Slice and Gather at constant indices."""

from __future__ import annotations

import pytest

from edgesmith.ir import DType
from edgesmith.ops.concat import Concat
from edgesmith.ops.functions import Exp
from edgesmith.ops.gather import Gather, Take
from edgesmith.ops.relu import Relu
from edgesmith.ops.reshape import Reshape
from edgesmith.ops.slice import Slice
from edgesmith.ops.split import Split

from .graphs import Sketch, kinds, optimized


def test_nested_concats() -> None:
    s = Sketch()
    a, b, c = s.input(2, 3), s.input(2, 1), s.input(2, 0)
    y = s.add(Concat(1), a, s.add(Concat(1), b, s.add(Concat(1), a, b)), c)
    result, _ = optimized(s.graph(y), "nested-concat")
    assert [n.inputs for n in result.nodes] == [(a, b, a, b)]


def test_concats_that_others_read_or_of_another_axis_stay() -> None:
    s = Sketch()
    a, b = s.input(2, 3), s.input(2, 3)
    rows, columns = s.add(Concat(0), a, b), s.add(Concat(1), a, b)
    y = s.add(Concat(0), rows, s.add(Concat(0), a, b))
    graph = s.graph(rows, y, s.add(Concat(0), columns, s.add(Concat(1), b, a)))
    result, report = optimized(graph, "nested-concat")
    assert kinds(result).count("Concat") == 5
    assert report.reasons("concat3") == {"nested-concat": "concat0 is read by others too"}


def test_concat_of_all_parts() -> None:
    s = Sketch()
    parts = s.all(Split(1, (1, 2)), s.add(Exp(), s.input(2, 3)))
    y = s.add(Relu(), s.add(Concat(1), *parts))
    assert kinds(optimized(s.graph(y), "split-and-concat", "dead-code")[0]) == ["Exp", "Relu"]


def test_concat_of_parts_in_another_order() -> None:
    s = Sketch()
    a, b = s.all(Split(1, (1, 2)), s.add(Exp(), s.input(2, 3)))
    graph = s.graph(s.add(Concat(1), b, a))
    assert optimized(graph, "split-and-concat")[0] is graph


def test_split_along_the_seams() -> None:
    s = Sketch()
    a, b = s.add(Exp(), s.input(2, 3)), s.add(Relu(), s.input(2, 1))
    first, second = s.all(Split(1, (3, 1)), s.add(Concat(1), a, b))
    result, _ = optimized(s.graph(second, s.add(Relu(), first)), "split-and-concat", "dead-code")
    assert sorted(kinds(result)) == ["Exp", "Relu", "Relu"]


def test_split_across_the_seams() -> None:
    s = Sketch()
    parts = s.all(Split(1, (2, 2)), s.add(Concat(1), s.input(2, 3), s.input(2, 1)))
    result, report = optimized(s.graph(*parts), "split-and-concat")
    assert kinds(result) == ["Concat", "Split"]
    assert report.reasons("split1") == {"split-and-concat": "concat0 joins (3, 1), it splits (2, 2)"}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (Slice((1, 9), (7, 5), (1, -2)), Slice((2, 4), (2, 3), (3, -1))),
        (Slice((0, 0), (8, 1), (1, 1)), Slice((7, 0), (4, 1), (-2, 1))),
    ],
    ids=str,
)
def test_slice_of_slice(first: Slice, second: Slice) -> None:
    s = Sketch()
    y = s.add(second, s.add(first, s.input(8, 10)))
    assert kinds(optimized(s.graph(y), "slice-of", "dead-code")[0]) == ["Slice"]


@pytest.mark.parametrize(("start", "length", "step"), [(3, 2, 1), (3, 4, 1), (5, 2, -2), (6, 1, 1)])
def test_slice_of_concat(start: int, length: int, step: int) -> None:
    s = Sketch()
    y = s.add(Slice((0, start), (2, length), (1, step)), s.add(Concat(1), s.input(2, 3), s.input(2, 4)))
    assert kinds(optimized(s.graph(y), "slice-of", "dead-code")[0]) == ["Slice"]


def test_slice_across_a_concat() -> None:
    s = Sketch()
    y = s.add(Slice((0, 2), (2, 2), (1, 1)), s.add(Concat(1), s.input(2, 3), s.input(2, 4)))
    result, report = optimized(s.graph(y), "slice-of")
    assert kinds(result) == ["Concat", "Slice"]
    assert report.reasons("slice1") == {"slice-of": "it takes from several inputs of concat0"}


@pytest.mark.parametrize(
    ("take", "expected"),
    [
        (Take(1, (1, 2, 3), (3,)), ["Slice"]),
        (Take(1, (5, 3, 1), (3,)), ["Slice"]),
        (Take(1, (4,), ()), ["Slice", "Reshape"]),
        (Take(0, (0, 1, 2, 3), (2, 2)), ["Slice", "Reshape"]),
        (Take(1, (0, 1, 3), (3,)), ["Gather"]),
        (Take(1, (2, 2), (2,)), ["Gather"]),
    ],
    ids=str,
)
def test_gather_at_constant_indices(take: Take, expected: list[str]) -> None:
    s = Sketch()
    assert kinds(optimized(s.graph(s.add(take, s.input(4, 6))), "gather-to-slice")[0]) == expected


def test_gather_at_run_time_indices() -> None:
    s = Sketch()
    from_rows = s.add(Gather(0), s.random(5, 3), s.add(Reshape((2,)), s.input(1, 2, dtype=DType.I64)))
    result, report = optimized(s.graph(from_rows), "gather-to-slice")
    assert kinds(result) == ["Reshape", "Gather"] and "run time" in report.reasons("gather1")["gather-to-slice"]


def test_reshapes() -> None:
    s = Sketch()
    x = s.input(4, 6)
    inner = s.add(Reshape((24,)), x)
    y = s.add(Reshape((2, 12)), s.add(Reshape((3, 8)), inner))
    result, _ = optimized(s.graph(y, s.add(Relu(), inner)), "reshape-of-reshape", "dead-code")
    assert sorted(kinds(result)) == ["Relu", "Reshape", "Reshape"]
    assert result.producers[y].inputs == (x,)
