"""Activations spelled out in elementary operators."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from edgesmith.ir import Op
from edgesmith.ops.activations import Gelu, Swish
from edgesmith.ops.add import Add
from edgesmith.ops.clip import Clip
from edgesmith.ops.division import Div
from edgesmith.ops.functions import Erf, Sigmoid, Tanh
from edgesmith.ops.mul import Mul
from edgesmith.ops.pow import Pow
from edgesmith.ops.rectifiers import HardSigmoid, HardSwish

from .graphs import Sketch, optimized

RULE = "activations"
FEEDS = {"x0": np.linspace(-9, 9, 400, dtype=np.float32).reshape(4, 100)}


def result_of(s: Sketch, value: str) -> list[Op]:
    graph, _ = optimized(s.graph(value), RULE, "dead-code", feeds=FEEDS)
    return [n.op for n in graph.nodes]


@pytest.mark.parametrize("swapped", [False, True])
def test_swish(swapped: bool) -> None:
    s = Sketch()
    x = s.input(4, 100)
    gate = s.add(Sigmoid(), x)
    assert result_of(s, s.add(Mul(), *((gate, x) if swapped else (x, gate)))) == [Swish()]


def test_swish_with_alpha() -> None:
    s = Sketch()
    x = s.input(4, 100)
    gate = s.add(Sigmoid(), s.add(Mul(), s.constant(1.5), x))
    assert result_of(s, s.add(Mul(), x, gate)) == [Swish(1.5)]


def test_hard_swish_of_hard_sigmoid() -> None:
    s = Sketch()
    x = s.input(4, 100)
    assert result_of(s, s.add(Mul(), s.add(HardSigmoid(1 / 6, 0.5), x), x)) == [HardSwish()]


@pytest.mark.parametrize(("order", "divide"), list(itertools.product(range(4), [False, True])))
def test_hard_swish_in_any_order(order: int, divide: bool) -> None:
    s = Sketch()
    x = s.input(4, 100)

    def sixth(value: str) -> str:
        return s.add(Div(), value, s.constant(6.0)) if divide else s.add(Mul(), s.constant(1 / 6), value)

    gate = s.add(Clip(0.0, 6.0), s.add(Add(), s.constant(3.0), x))
    y = [
        lambda: sixth(s.add(Mul(), x, gate)),
        lambda: s.add(Mul(), x, sixth(gate)),
        lambda: s.add(Mul(), sixth(gate), x),
        lambda: s.add(Mul(), sixth(x), gate),
    ][order]()
    assert result_of(s, y) == [HardSwish()]


def test_hard_sigmoid() -> None:
    s = Sketch()
    y = s.add(Div(), s.add(Clip(0.0, 6.0), s.add(Add(), s.input(4, 100), s.constant(3.0))), s.constant(6.0))
    assert result_of(s, y) == [HardSigmoid(1 / 6, 0.5)]


def test_hard_sigmoid_of_any_slope() -> None:
    s = Sketch()
    line = s.add(Add(), s.add(Mul(), s.input(4, 100), s.constant(0.25)), s.constant(0.5))
    assert result_of(s, s.add(Clip(0.0, 1.0), line)) == [HardSigmoid(0.25, 0.5)]


@pytest.mark.parametrize("order", range(3))
@pytest.mark.parametrize("divide", [False, True])
def test_gelu(order: int, divide: bool) -> None:
    s = Sketch()
    x, half = s.input(4, 100), s.constant(0.5)
    op, number = (Div(), math.sqrt(2)) if divide else (Mul(), math.sqrt(0.5))
    gate = s.add(Add(), s.add(Erf(), s.add(op, x, s.constant(number))), s.constant(1.0))
    y = [
        lambda: s.add(Mul(), s.add(Mul(), x, gate), half),
        lambda: s.add(Mul(), s.add(Mul(), x, half), gate),
        lambda: s.add(Mul(), x, s.add(Mul(), half, gate)),
    ][order]()
    assert result_of(s, y) == [Gelu()]


@pytest.mark.parametrize("power", [False, True])
def test_gelu_by_tanh(power: bool) -> None:
    s = Sketch()
    x = s.input(4, 100)
    cube = s.add(Pow(), x, s.constant(3.0)) if power else s.add(Mul(), s.add(Mul(), x, x), x)
    inner = s.add(Add(), x, s.add(Mul(), cube, s.constant(0.044715)))
    tanh = s.add(Tanh(), s.add(Mul(), inner, s.constant(math.sqrt(2 / math.pi))))
    y = s.add(Mul(), s.add(Mul(), x, s.add(Add(), tanh, s.constant(1.0))), s.constant(0.5))
    assert result_of(s, y) == [Gelu("tanh")]


def test_near_misses_stay() -> None:
    s = Sketch()
    x, y = s.input(4, 100), s.input(4, 100)
    gate = s.add(Sigmoid(), x)
    outputs = [
        s.add(Mul(), x, gate),  # the gate is read twice
        s.add(Mul(), y, gate),
        s.add(Mul(), x, s.add(HardSigmoid(0.2, 0.5), x)),
        s.add(Mul(), x, s.add(Clip(0.0, 6.0), s.add(Add(), x, s.constant(3.0)))),
        s.add(Div(), s.constant(6.0), s.add(Clip(0.0, 6.0), s.add(Add(), x, s.constant(3.5)))),
        s.add(Mul(), s.add(Mul(), x, s.add(Add(), s.add(Erf(), x), s.constant(1.0))), s.constant(0.5)),
    ]
    graph = s.graph(*outputs)
    feeds = {v: np.full((4, 100), 0.3, np.float32) for v in (x, y)}
    assert optimized(graph, RULE, feeds=feeds)[0] is graph
