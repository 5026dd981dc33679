"""Channel shuffles absorbed by the weights of convolutions."""

from __future__ import annotations

import pytest

from edgesmith.ir import Op
from edgesmith.ops.concat import Concat
from edgesmith.ops.conv import Conv
from edgesmith.ops.max_pool import MaxPool
from edgesmith.ops.relu import Relu
from edgesmith.ops.reshape import Reshape
from edgesmith.ops.softmax import Softmax
from edgesmith.ops.split import Split
from edgesmith.ops.transpose import Transpose
from edgesmith.ops.window import Window

from .graphs import Sketch, kinds, optimized

RULE = "absorb-shuffles"
RULES = (RULE, "dead-code")


def window(kernel: int) -> Window:
    pad = kernel // 2
    return Window((kernel, kernel), (1, 1), (pad, pad), (pad, pad), (1, 1))


def conv(s: Sketch, x: str, filters: int, group: int = 1, kernel: int = 1) -> str:
    depth = s.types[x].shape[1] // group
    return s.add(Conv(window(kernel), group), x, s.random(filters, depth, kernel, kernel), s.random(filters))


def shuffle(s: Sketch, x: str, groups: int) -> str:
    n, c, h, w = s.types[x].shape
    split = s.add(Reshape((n, groups, c // groups, h, w)), x)
    return s.add(Reshape((n, c, h, w)), s.add(Transpose((0, 2, 1, 3, 4)), split))


@pytest.mark.parametrize("groups", [2, 3, 4])
def test_shuffle_before_a_convolution_costs_nothing(groups: int) -> None:
    s = Sketch()
    y = conv(s, shuffle(s, conv(s, s.input(1, 5, 3, 3), 12), groups), 7)
    assert kinds(optimized(s.graph(y), *RULES)[0]) == ["Conv", "Conv"]


@pytest.mark.parametrize("between", [Relu(), MaxPool(window(3)), None], ids=str)
def test_operators_by_channel_pass_it_on(between: Op | None) -> None:
    s = Sketch()
    x = shuffle(s, conv(s, s.input(1, 5, 3, 3), 12), 3)
    x = s.add(between, x) if between else conv(s, x, 12, group=12, kernel=3)
    result, _ = optimized(s.graph(conv(s, x, 4), conv(s, x, 6)), *RULES)
    assert sorted(kinds(result)) == sorted(["Conv", between.name if between else "Conv", "Conv", "Conv"])


@pytest.mark.parametrize("half", [6, 7])
@pytest.mark.parametrize("units", [1, 2, 4])
def test_units_of_shufflenet_v2(half: int, units: int) -> None:
    s = Sketch()
    x = s.input(1, 3, 4, 4)
    x = shuffle(s, s.add(Concat(1), conv(s, x, half), conv(s, x, half)), 2)
    for _ in range(units):
        kept, worked = s.all(Split(1, (half, half)), x)
        worked = s.add(Relu(), conv(s, worked, half))
        worked = conv(s, conv(s, worked, half, group=half, kernel=3), half)
        x = shuffle(s, s.add(Concat(1), kept, worked), 2)
    y = conv(s, conv(s, x, 2 * half, group=2 * half, kernel=3), 5)
    result, report = optimized(s.graph(y, conv(s, x, 3)), *RULES)
    assert "Transpose" not in kinds(result) and "Split" not in kinds(result)
    assert kinds(result).count("Concat") == units + 1
    assert report.applied[RULE] == 1


def test_order_that_matters() -> None:
    for reader, reason in ((Softmax(1), "needs the channels in order"), (Conv(window(1), 2), "needs the channels")):
        s = Sketch()
        x = shuffle(s, conv(s, s.input(1, 5, 3, 3), 8), 2)
        y = s.add(reader, x, *([s.random(4, 4, 1, 1)] if isinstance(reader, Conv) else []))
        graph = s.graph(y, conv(s, x, 3))
        result, report = optimized(graph, *RULES)
        assert result is graph
        assert reason in report.reasons("reshape3")[RULE]


def test_shared_weights_and_outputs() -> None:
    s = Sketch()
    x = shuffle(s, conv(s, s.input(1, 5, 3, 3), 8), 2)
    weights = s.random(4, 8, 1, 1)
    y = s.add(Conv(window(1)), x, weights)
    z = s.add(Conv(window(1)), s.input(1, 8, 3, 3), weights)
    graph = s.graph(y, z)
    result, report = optimized(graph, *RULES)
    assert result is graph and "shared" in report.reasons("reshape3")[RULE]
    s = Sketch()
    x = shuffle(s, conv(s, s.input(1, 5, 3, 3), 8), 2)
    graph = s.graph(x, conv(s, x, 3))
    assert optimized(graph, *RULES)[0] is graph


def test_one_shuffle_of_two_is_absorbed() -> None:
    s = Sketch()
    first = shuffle(s, conv(s, s.input(1, 5, 3, 3), 8), 2)
    y = s.add(Softmax(1), first)
    z = conv(s, shuffle(s, first, 4), 3)
    result, report = optimized(s.graph(y, z), *RULES)
    assert kinds(result).count("Transpose") == 1
    assert report.applied[RULE] == 1 and report.reasons("reshape3")
