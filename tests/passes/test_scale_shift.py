"""Folding of Mul, Div, Add and Sub by constants."""

from __future__ import annotations

import numpy as np
import pytest

from edgesmith.ir import DType, Op
from edgesmith.ops.add import Add
from edgesmith.ops.conv import Conv
from edgesmith.ops.conv_transpose import ConvTranspose
from edgesmith.ops.division import Div
from edgesmith.ops.gemm import Gemm
from edgesmith.ops.matmul import MatMul
from edgesmith.ops.mul import Mul
from edgesmith.ops.relu import Relu
from edgesmith.ops.sub import Sub
from edgesmith.ops.window import Window

from .graphs import Sketch, kinds, optimized

FOLD, ARITHMETIC = "fold-scale-shift", "constant-arithmetic"


def window(pad: int = 1) -> Window:
    return Window((3, 3), (1, 1), (pad, pad), (pad, pad), (1, 1))


@pytest.mark.parametrize("op", [Mul(), Div(), Add(), Sub()], ids=str)
@pytest.mark.parametrize("shape", [(), (8, 1, 1), (1, 8, 1, 1)], ids=str)
@pytest.mark.parametrize("linear", [Conv(window(), 2), ConvTranspose(window(), (0, 0), 2)], ids=["conv", "transposed"])
def test_into_the_convolution_before(op: Op, shape: tuple[int, ...], linear: Op) -> None:
    s = Sketch()
    weights = s.random(8, 2, 3, 3) if isinstance(linear, Conv) else s.random(4, 4, 3, 3)
    y = s.add(op, s.add(linear, s.input(1, 4, 5, 5), weights), s.random(*shape, low=0.5, high=2))
    assert kinds(optimized(s.graph(y), FOLD)[0]) == [linear.name]


def test_constant_minus_convolution() -> None:
    s = Sketch()
    y = s.add(Sub(), s.random(4, 1, 1), s.add(Conv(window()), s.input(1, 3, 5, 5), s.random(4, 3, 3, 3), s.random(4)))
    assert kinds(optimized(s.graph(y), FOLD)[0]) == ["Conv"]


def test_bias_of_a_matmul_makes_a_gemm() -> None:
    s = Sketch()
    y = s.add(Add(), s.add(MatMul(), s.input(3, 4), s.random(4, 5)), s.random(5))
    assert kinds(optimized(s.graph(y), FOLD)[0]) == ["Gemm"]


def test_scale_of_a_stack_of_matrices() -> None:
    s = Sketch()
    y = s.add(Mul(), s.add(MatMul(), s.input(2, 3, 4), s.random(4, 5)), s.constant(0.125))
    assert kinds(optimized(s.graph(y), FOLD)[0]) == ["MatMul"]


@pytest.mark.parametrize("linear", [Conv(window()), Gemm(), Gemm(transB=1), MatMul()], ids=str)
def test_scale_into_what_comes_after(linear: Op) -> None:
    s = Sketch()
    image = isinstance(linear, Conv)
    x = s.add(Relu(), s.input(2, 6, 4, 4) if image else s.input(2, 6))
    scaled = s.add(Mul(), x, s.random(6, 1, 1) if image else s.random(6))
    shape = (5, 6, 3, 3) if image else (5, 6) if linear == Gemm(transB=1) else (6, 5)
    assert kinds(optimized(s.graph(s.add(linear, scaled, s.random(*shape))), FOLD)[0]) == ["Relu", linear.name]


def test_shift_does_not_enter_padding() -> None:
    s = Sketch()
    shifted = s.add(Add(), s.add(Relu(), s.input(1, 3, 4, 4)), s.constant(0.5))
    result, report = optimized(s.graph(s.add(Conv(window()), shifted, s.random(2, 3, 3, 3))), FOLD)
    assert kinds(result) == ["Relu", "Add", "Conv"]
    assert "zero padding of conv2" in report.reasons("add1")[FOLD]
    s = Sketch()
    shifted = s.add(Add(), s.add(Relu(), s.input(1, 3, 4, 4)), s.constant(0.5))
    assert kinds(optimized(s.graph(s.add(Conv(window(0)), shifted, s.random(2, 3, 3, 3))), FOLD)[0]) == ["Relu", "Conv"]


def test_other_axes_stay() -> None:
    s = Sketch()
    y = s.add(Mul(), s.add(Conv(window()), s.input(1, 3, 4, 4), s.random(2, 3, 3, 3)), s.random(4, 4))
    result, report = optimized(s.graph(y), FOLD)
    assert kinds(result) == ["Conv", "Mul"]
    assert "other axes" in report.reasons("mul1")[FOLD]


def test_intermediate_output_stays() -> None:
    s = Sketch()
    inner = s.add(Conv(window()), s.input(1, 3, 4, 4), s.random(2, 3, 3, 3))
    result, _ = optimized(s.graph(inner, s.add(Mul(), inner, s.constant(2.0))), FOLD)
    assert kinds(result) == ["Conv", "Mul"]


def chain(*steps: tuple[Op, float]) -> Sketch:
    s = Sketch()
    value = s.input(2, 3)
    for op, number in steps:
        value = s.add(op, value, s.constant(number))
    return s


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([(Add(), 1.0), (Sub(), 3.0), (Add(), 0.5)], ["Add"]),
        ([(Mul(), 3.0), (Div(), 7.0)], ["Mul"]),
        ([(Mul(), 3.0), (Add(), 2.0), (Mul(), 5.0), (Sub(), 1.0)], ["Mul", "Add"]),
        ([(Sub(), 100.0), (Div(), 50.0)], ["Add", "Mul"]),
        ([(Mul(), 1e-30), (Mul(), 1e-30)], ["Mul", "Mul"]),
        ([(Mul(), 1e30), (Mul(), 1e30)], ["Mul", "Mul"]),
        ([(Div(), 1e-40)], ["Div"]),
        ([(Add(), 1e8), (Sub(), 1e8)], ["Add", "Add"]),
    ],
    ids=str,
)
def test_chains(steps: list[tuple[Op, float]], expected: list[str]) -> None:
    s = chain(*steps)
    x = np.random.default_rng(0).uniform(-1e-3, 1e-3, (2, 3)).astype(np.float32)
    with np.errstate(over="ignore"):
        assert kinds(optimized(s.graph(s.nodes[-1].outputs[0]), ARITHMETIC, feeds={"x0": x})[0]) == expected


def test_merging_does_not_make_constants_larger() -> None:
    s = Sketch()
    y = s.add(Mul(), s.add(Mul(), s.input(1, 3, 4), s.random(3, 1)), s.random(1, 4))
    result, report = optimized(s.graph(y), ARITHMETIC)
    assert kinds(result) == ["Mul", "Mul"] and "larger" in report.reasons("mul1")[ARITHMETIC]


def test_integers_and_first_operands_stay() -> None:
    s = Sketch()
    i = s.input(3, dtype=DType.I32)
    y = s.add(Div(), i, s.constant(np.int32([2, 2, 2])))
    z = s.add(Div(), s.constant(1.0), s.add(Add(), s.input(3), s.constant(9.0)))
    result, report = optimized(s.graph(y, z), ARITHMETIC)
    assert kinds(result) == ["Div", "Add", "Div"]
    assert report.reasons("div2") == {ARITHMETIC: "the constant is its first operand"}
