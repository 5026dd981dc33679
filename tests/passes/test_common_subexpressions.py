"""Common sub-expression elimination."""

from __future__ import annotations

import numpy as np

from edgesmith.ops.add import Add
from edgesmith.ops.clip import Clip
from edgesmith.ops.constant_of_shape import ConstantOfShape
from edgesmith.ops.functions import Exp
from edgesmith.ops.mul import Mul
from edgesmith.ops.relu import Relu
from edgesmith.ops.split import Split

from .graphs import Sketch, kinds, optimized

RULE = "common-subexpressions"


def test_equal_branches_are_one() -> None:
    s = Sketch()
    x = s.input(2, 8)
    branches = []
    for _ in range(3):
        a, b = s.all(Split(1, (4, 4)), s.add(Exp(), x))
        branches.append(s.add(Mul(), s.add(Relu(), a), b))
    y = s.add(Add(), s.add(Add(), branches[0], branches[1]), branches[2])
    result, report = optimized(s.graph(y), RULE)
    assert kinds(result) == ["Exp", "Split", "Relu", "Mul", "Add", "Add"]
    assert report.sweeps == 2


def test_equal_constants_are_stored_once() -> None:
    s = Sketch()
    x = s.input(300)
    values = np.linspace(0, 1, 300, dtype=np.float32)
    other = values.copy()
    other[151] += 1
    y = s.add(Add(), s.add(Mul(), x, s.constant(values)), s.constant(values.copy()))
    result, _ = optimized(s.graph(s.add(Add(), y, s.constant(other))), RULE)
    assert len(result.constants) == 2


def test_equal_outputs_keep_their_names() -> None:
    s = Sketch()
    x = s.input(5)
    first, second, third = (s.add(Relu(), x) for _ in range(3))
    result, _ = optimized(s.graph(second, third), RULE)
    assert kinds(result) == ["Relu", "Identity"] and result.outputs == (second, third)
    assert first not in result.types


def test_differences_are_kept() -> None:
    s = Sketch()
    x, i = s.input(5), s.add(ConstantOfShape((5,), np.float32(0)))
    j = s.add(ConstantOfShape((5,), np.float32(-0.0)))
    outputs = [s.add(Clip(0.0, 1.0), x), s.add(Clip(0.0, 2.0), x), s.add(Relu(), x), s.add(Relu(), i), s.add(Relu(), j)]
    graph = s.graph(*outputs, s.add(ConstantOfShape((5,), np.float64(0))))
    result, _ = optimized(graph, RULE)
    assert kinds(result) == kinds(graph)
