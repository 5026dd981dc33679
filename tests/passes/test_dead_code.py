"""Dead code elimination."""

from __future__ import annotations

from edgesmith.ops.max_pool import MaxPool
from edgesmith.ops.relu import Relu
from edgesmith.ops.split import Split
from edgesmith.ops.window import Window

from .graphs import Sketch, kinds, optimized

TWO = Window((2, 2), (2, 2), (0, 0), (0, 0), (1, 1))


def test_unreachable_chain_goes() -> None:
    s = Sketch()
    x = s.input(1, 4)
    y = s.add(Relu(), x)
    s.add(Relu(), s.add(Relu(), s.random(1, 4)))
    result, report = optimized(s.graph(y), "dead-code")
    assert kinds(result) == ["Relu"] and not result.constants
    assert report.applied == {"dead-code": 1}
    assert report.rewrites[0].removed == ("relu1", "relu2")


def test_node_with_one_live_output_stays() -> None:
    s = Sketch()
    first, _ = s.all(Split(0, (2, 2)), s.input(4))
    graph = s.graph(first)
    result, _ = optimized(graph, "dead-code")
    assert result is graph


def test_unread_parts_of_a_split() -> None:
    s = Sketch()
    parts = s.all(Split(1, (1, 2, 3)), s.input(2, 6))
    result, report = optimized(s.graph(parts[2], s.add(Relu(), parts[0])), "unread-outputs")
    assert sorted(kinds(result)) == ["Relu", "Slice", "Slice"]
    assert report.applied["unread-outputs"] == 1


def test_unread_indices_of_a_max_pool() -> None:
    s = Sketch()
    values, _ = s.all(MaxPool(TWO, indices=True), s.input(1, 2, 4, 4))
    result, _ = optimized(s.graph(values), "unread-outputs")
    assert [len(n.outputs) for n in result.nodes] == [1]


def test_read_indices_stay() -> None:
    s = Sketch()
    _, indices = s.all(MaxPool(TWO, indices=True), s.input(1, 2, 4, 4))
    result, report = optimized(s.graph(indices), "unread-outputs")
    assert [len(n.outputs) for n in result.nodes] == [2]
    assert report.reasons("maxpool0") == {"unread-outputs": "its values are not read, but its indices are"}
