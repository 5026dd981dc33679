"""Removal of operators that change nothing."""

from __future__ import annotations

import numpy as np
import pytest

from edgesmith.ir import DType, Op
from edgesmith.ops.add import Add
from edgesmith.ops.average_pool import AveragePool
from edgesmith.ops.cast import Cast
from edgesmith.ops.clip import Clip
from edgesmith.ops.concat import Concat
from edgesmith.ops.division import Div
from edgesmith.ops.expand import Expand
from edgesmith.ops.functions import Exp, Sigmoid
from edgesmith.ops.identity import Identity
from edgesmith.ops.max_pool import MaxPool
from edgesmith.ops.mul import Mul
from edgesmith.ops.pad import Pad
from edgesmith.ops.relu import Relu
from edgesmith.ops.reshape import Reshape
from edgesmith.ops.slice import Slice
from edgesmith.ops.split import Split
from edgesmith.ops.sub import Sub
from edgesmith.ops.tile import Tile
from edgesmith.ops.transpose import Transpose
from edgesmith.ops.window import Window

from .graphs import Sketch, kinds, optimized

SHAPE = (2, 3, 4, 5)
ONE = Window((1, 1), (1, 1), (0, 0), (0, 0), (1, 1))
FOUR = (0, 0, 0, 0)

NOTHING: list[Op] = [
    Identity(),
    Reshape(SHAPE),
    Transpose((0, 1, 2, 3)),
    Slice(FOUR, SHAPE, (1, 1, 1, 1)),
    Pad(FOUR, FOUR),
    Pad(FOUR, FOUR, "reflect"),
    Expand(SHAPE),
    Tile((1, 1, 1, 1)),
    Concat(1),
    Split(1, (3,)),
    Cast(DType.F32),
    Clip(),
    Clip(-np.inf, np.inf),
    MaxPool(ONE),
    AveragePool(ONE),
]


@pytest.mark.parametrize("op", NOTHING, ids=str)
def test_no_operation(op: Op) -> None:
    s = Sketch()
    y = s.add(Exp(), s.add(op, s.add(Sigmoid(), s.input(*SHAPE))))
    result, report = optimized(s.graph(y), "identities")
    assert kinds(result) == ["Sigmoid", "Exp"]
    assert report.applied == {"identities": 1}


SOMETHING: list[Op] = [
    Slice((1, 0, 0, 0), SHAPE, (-1, 1, 1, 1)),
    Transpose((0, 1, 3, 2)),
    Cast(DType.F64),
    Clip(low=0.5),
    Pad((0, 0, 1, 0), (0, 0, -1, 0)),
]


@pytest.mark.parametrize("op", SOMETHING, ids=str)
def test_operation_that_changes_something(op: Op) -> None:
    s = Sketch()
    graph = s.graph(s.add(op, s.add(Exp(), s.input(*SHAPE))))
    assert kinds(optimized(graph, "identities", "moves-to-reshape")[0]) == kinds(graph)


@pytest.mark.parametrize(
    ("op", "number", "first", "goes"),
    [
        (Add(), 0, False, True),
        (Add(), 0, True, True),
        (Sub(), 0, False, True),
        (Sub(), 0, True, False),
        (Mul(), 1, True, True),
        (Div(), 1, False, True),
        (Div(), 1, True, False),
        (Mul(), 0, False, False),
    ],
    ids=str,
)
def test_neutral_constants(op: Op, number: float, first: bool, goes: bool) -> None:
    s = Sketch()
    x, c = s.add(Exp(), s.input(2, 3)), s.constant(np.full((1, 3), number, np.float32))
    result, _ = optimized(s.graph(s.add(op, *((c, x) if first else (x, c)))), "identities")
    assert (len(result.nodes) == 1) is goes


def test_neutral_constant_that_broadcasts_stays() -> None:
    s = Sketch()
    y = s.add(Add(), s.add(Exp(), s.input(3)), s.constant(np.zeros((2, 3))))
    assert kinds(optimized(s.graph(y), "identities")[0]) == ["Exp", "Add"]


def test_relu_of_what_is_never_negative() -> None:
    s = Sketch()
    pool = MaxPool(Window((2, 2), (1, 1), (0, 0), (0, 0), (1, 1)))
    y = s.add(Relu(), s.add(pool, s.add(Relu(), s.input(1, 2, 4, 4))))
    assert kinds(optimized(s.graph(y), "identities")[0]) == ["Relu", "MaxPool"]
    z = Sketch()
    graph = z.graph(z.add(Relu(), z.add(Sub(), z.add(Relu(), z.input(4)), z.random(4))))
    assert kinds(optimized(graph, "identities")[0]) == ["Relu", "Sub", "Relu"]


def test_output_keeps_its_name() -> None:
    s = Sketch()
    inner = s.add(Exp(), s.input(2, 2))
    y = s.add(Identity(), inner)
    result, _ = optimized(s.graph(y, s.add(Sigmoid(), inner)), "identities")
    assert kinds(result) == ["Exp", "Sigmoid"] and result.producers[y].op == Exp()


def test_copies_into_outputs_stay() -> None:
    s = Sketch()
    x, c = s.input(2, 2), s.random(2, 2)
    inner = s.add(Exp(), x)
    outputs = [s.add(Identity(), v) for v in (x, c, inner, inner)]
    result, report = optimized(s.graph(*outputs), "identities")
    assert kinds(result).count("Identity") == 3 and kinds(result).count("Exp") == 1
    assert all("graph output" in reason for reason in report.skipped.values()) and len(report.skipped) == 3


@pytest.mark.parametrize("op", [Transpose((0, 2, 1, 3)), Expand((1, 1, 3, 1, 5))], ids=str)
def test_move_that_keeps_the_order_is_a_reshape(op: Op) -> None:
    s = Sketch()
    result, _ = optimized(s.graph(s.add(op, s.add(Exp(), s.input(1, 3, 1, 5)))), "moves-to-reshape")
    assert kinds(result) == ["Exp", "Reshape"]
