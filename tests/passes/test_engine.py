"""The engine with all passes: random graphs, order, speed, report."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgesmith.frontend.normalize import normalize
from edgesmith.frontend.onnx import bind
from edgesmith.ir import Graph, Node, Op, Patch
from edgesmith.ops.activations import Swish
from edgesmith.ops.add import Add
from edgesmith.ops.average_pool import AveragePool
from edgesmith.ops.batch_normalization import BatchNormalization
from edgesmith.ops.clip import Clip
from edgesmith.ops.concat import Concat
from edgesmith.ops.conv import Conv
from edgesmith.ops.functions import Sigmoid, Tanh
from edgesmith.ops.identity import Identity
from edgesmith.ops.max_pool import MaxPool
from edgesmith.ops.mul import Mul
from edgesmith.ops.pad import Pad
from edgesmith.ops.reductions import ReduceMean
from edgesmith.ops.relu import Relu
from edgesmith.ops.reshape import Reshape
from edgesmith.ops.slice import Slice
from edgesmith.ops.split import Split
from edgesmith.ops.sub import Sub
from edgesmith.ops.transpose import Transpose
from edgesmith.ops.window import Window
from edgesmith.passes import PASSES, optimize
from edgesmith.zoo import build

from .graphs import Sketch, assert_same, kinds, optimized

# Chains shrink by a factor in each sweep: 2 log2(2000).
MOST_SWEEPS = 22


def window(kernel: int, pad: int) -> Window:
    return Window((kernel, kernel), (1, 1), (pad, pad), (pad, pad), (1, 1))


def grow(s: Sketch, values: list[str], pick: st.DataObject) -> Iterator[str]:
    """Values of a random operator on a random value of rank 4."""
    x = values[pick.draw(st.integers(0, len(values) - 1))]
    n, c, h, w = s.types[x].shape
    pad = pick.draw(st.integers(0, 1))
    mates = [v for v in values if s.types[v] == s.types[x]]
    y = mates[pick.draw(st.integers(0, len(mates) - 1))]
    kind = pick.draw(st.integers(0, 15))
    unary: list[Op] = [Relu(), Sigmoid(), Tanh(), Identity(), Clip(0.0, 6.0), Clip(high=0.5), Reshape((n, c, h, w))]
    if kind < 3:
        yield s.add(unary[pick.draw(st.integers(0, len(unary) - 1))], x)
    elif kind < 5:
        op = (Add(), Mul(), Sub())[pick.draw(st.integers(0, 2))]
        yield s.add(op, *((x, s.random(c, 1, 1)) if pick.draw(st.booleans()) else (s.constant(1.5), x)))
    elif kind == 5:
        yield s.add(Add() if pick.draw(st.booleans()) else Mul(), x, y)
    elif kind == 6:
        yield s.add(Concat(1), x, y)
    elif kind == 7 and c > 1:
        yield from s.all(Split(1, (1, c - 1)), x)
    elif kind == 8 and min(h, w) + 2 * pad >= 3:
        yield s.add(Conv(window(3, pad)), x, s.random(3, c, 3, 3), s.random(3))
    elif kind == 9:
        parameters = [s.random(c) for _ in range(3)]
        yield s.add(BatchNormalization(), x, *parameters, s.random(c, low=0.5, high=2))
    elif kind == 10:
        yield s.add(Transpose(tuple(pick.draw(st.permutations(range(4))))), x)
    elif kind == 11:
        yield s.add(Pad((0, 0, pad, 1), (0, 0, 1, pad)), x)
    elif kind == 12 and min(h, w) >= 2:
        yield s.add(MaxPool(window(2, pad)) if pick.draw(st.booleans()) else AveragePool(window(2, pad), pad), x)
    elif kind == 13:
        yield s.add(ReduceMean((2, 3)), x)
    elif kind == 14 and c > 1:
        yield s.add(Slice((0, c - 1, 0, 0), (n, c - 1, h, w), (1, -1, 1, 1)), x)
    elif kind == 15:
        yield s.add(Mul(), x, s.add(Sigmoid(), x))


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(st.data())
def test_random_graphs(pick: st.DataObject) -> None:
    s = Sketch()
    values = [s.input(1, 2, 4, 3), s.input(1, 2, 4, 3), s.random(1, 2, 4, 3)]
    for _ in range(pick.draw(st.integers(1, 14))):
        values += [v for v in grow(s, values, pick) if s.types[v].size < 2000]
    made = [n.outputs[0] for n in s.nodes if s.types[n.outputs[0]].size] or [s.add(Relu(), values[0])]
    outputs = pick.draw(st.lists(st.sampled_from(made), min_size=1, max_size=4, unique=True))
    graph = s.graph(*outputs)
    result, report = optimize(graph)
    assert report.settled and report.sweeps < 30
    assert_same(graph, result)
    again, second = optimize(result)
    assert again is result and not second.applied
    assert optimize(graph)[0].digest == result.digest


def chain(*ops: Op, count: int) -> Graph:
    s = Sketch()
    value = s.input(1, 8, 4, 4)
    for i in range(count):
        op = ops[i % len(ops)]
        value = s.add(op, value, *([s.random(8, 1, 1)] if isinstance(op, Add | Mul) else []))
    return s.graph(value)


@pytest.mark.parametrize(
    "ops",
    [(Relu(),), (Identity(),), (Tanh(),), (Add(),), (Mul(), Add()), (Transpose((0, 1, 3, 2)), Tanh())],
    ids=lambda ops: "-".join(op.name for op in ops),
)
def test_chain_of_2000_nodes_settles_in_few_sweeps(ops: tuple[Op, ...]) -> None:
    _, report = optimize(chain(*ops, count=2000))
    assert report.settled
    assert report.sweeps <= MOST_SWEEPS


@pytest.mark.parametrize("name", ["efficientnet-b0", "googlenet"])
def test_networks_settle_in_few_sweeps(name: str) -> None:
    _, report = optimize(bind(normalize(build(name, image_size=64))))
    assert report.settled
    assert report.sweeps <= MOST_SWEEPS


def test_report() -> None:
    s = Sketch()
    x = s.add(Identity(), s.input(1, 2, 4, 4))
    y = s.add(Mul(), x, s.add(Sigmoid(), x))
    result, report = optimized(s.graph(s.add(Add(), y, s.constant(3.0))))
    assert [n.op for n in result.nodes] == [Swish(), Add()]
    assert report.applied["activations"] == report.applied["identities"] == 1
    assert report.rewrites[0].rule in ("activations", "identities")
    assert report.reasons("add3")["fold-scale-shift"].startswith("no linear operator")
    assert all(name in result.position for _, name in report.skipped)


def test_endless_pass_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    def swap(graph: Graph) -> Iterator[Patch]:
        (node,) = graph.nodes
        new = Tanh() if isinstance(node.op, Sigmoid) else Sigmoid()
        yield Patch("swap", frozenset((node.name,)), (Node(node.name, new, node.inputs, node.outputs),))

    s = Sketch()
    graph = s.graph(s.add(Tanh(), s.input(3)))
    monkeypatch.setitem(PASSES._members, "swap", swap)  # type: ignore[attr-defined]
    _, report = optimize(graph, frozenset(("swap",)))
    assert not report.settled


def test_only_some_passes() -> None:
    s = Sketch()
    graph = s.graph(s.add(Identity(), s.add(Relu(), s.add(Relu(), s.input(3)))))
    assert kinds(optimize(graph, frozenset())[0]) == ["Relu", "Relu", "Identity"]
    assert np.all([p in PASSES for p in ("identities", "dead-code")])
