"""Constant folding."""

from __future__ import annotations

import numpy as np

from edgesmith.ops.add import Add
from edgesmith.ops.constant_of_shape import ConstantOfShape
from edgesmith.ops.expand import Expand
from edgesmith.ops.matmul import MatMul
from edgesmith.ops.mul import Mul
from edgesmith.ops.relu import Relu

from .graphs import Sketch, kinds, optimized

RULE = "fold-constants"


def test_chain_of_constants_is_folded_at_once() -> None:
    s = Sketch()
    x = s.input(3, 4)
    c = s.add(Relu(), s.add(Add(), s.random(3, 4), s.add(ConstantOfShape((4,), np.float32(0.5)))))
    result, report = optimized(s.graph(s.add(Mul(), x, c)), RULE)
    assert kinds(result) == ["Mul"] and len(result.constants) == 1
    assert report.applied == {RULE: 1} and report.sweeps == 2


def test_constant_output_keeps_a_copy() -> None:
    s = Sketch()
    x = s.input(2)
    y = s.add(Add(), s.random(2), s.random(2))
    result, _ = optimized(s.graph(s.add(Add(), x, y), y), RULE)
    assert kinds(result) == ["Identity", "Add"]
    assert result.producers[y].inputs[0] in result.constants


def test_growth_is_refused() -> None:
    s = Sketch()
    x = s.input(64, 512)
    wide = s.add(Expand((64, 512)), s.random(512))
    result, report = optimized(s.graph(s.add(Add(), x, wide)), RULE)
    assert kinds(result) == ["Expand", "Add"]
    assert report.reasons("expand0") == {RULE: "its result takes 131072 bytes, its inputs 2048"}


def test_small_growth_is_not() -> None:
    s = Sketch()
    x = s.input(32, 512)
    result, _ = optimized(s.graph(s.add(Add(), x, s.add(Expand((32, 512)), s.random(512)))), RULE)
    assert kinds(result) == ["Add"]


def test_long_products_are_refused() -> None:
    s = Sketch()
    x = s.input(1024, 1024)
    zeros = s.constant(np.zeros((1024, 1024), np.float32))
    result, report = optimized(s.graph(s.add(Add(), x, s.add(MatMul(), zeros, zeros))), RULE)
    assert kinds(result) == ["MatMul", "Add"]
    assert "multiply-adds" in report.reasons("matmul0")[RULE]
