"""Folding of BatchNormalization."""

from __future__ import annotations

import numpy as np
import pytest

from edgesmith.ops.batch_normalization import BatchNormalization
from edgesmith.ops.conv import Conv
from edgesmith.ops.conv_transpose import ConvTranspose
from edgesmith.ops.gemm import Gemm
from edgesmith.ops.matmul import MatMul
from edgesmith.ops.relu import Relu
from edgesmith.ops.window import Window

from .graphs import Sketch, kinds, optimized

RULE = "fold-batch-norm"


def window(pad: int = 1) -> Window:
    return Window((3, 3), (1, 1), (pad, pad), (pad, pad), (1, 1))


def batch_norm(s: Sketch, x: str, channels: int) -> str:
    parameters = [s.random(channels, low=-2, high=2) for _ in range(3)]
    return s.add(BatchNormalization(1e-3), x, *parameters, s.random(channels, low=0.1, high=3))


@pytest.mark.parametrize("group", [1, 2, 6])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("transposed", [False, True])
def test_into_the_convolution_before(group: int, bias: bool, transposed: bool) -> None:
    s = Sketch()
    x = s.input(2, 6, 5, 5)
    filters = 12
    op = ConvTranspose(window(), (0, 0), group) if transposed else Conv(window(), group)
    weights = s.random(6, filters // group, 3, 3) if transposed else s.random(filters, 6 // group, 3, 3)
    y = batch_norm(s, s.add(op, x, weights, *([s.random(filters)] if bias else [])), filters)
    result, report = optimized(s.graph(y), RULE)
    assert kinds(result) == [op.name]
    assert report.applied == {RULE: 1}
    assert set(result.nodes[0].origin) == {
        "onnx-conv0" if not transposed else "onnx-convtranspose0",
        "onnx-batchnormalization1",
    }


@pytest.mark.parametrize("trans_b", [0, 1])
def test_into_the_gemm_before(trans_b: int) -> None:
    s = Sketch()
    x, weights = s.input(4, 7), s.random(5, 7) if trans_b else s.random(7, 5)
    y = batch_norm(s, s.add(Gemm(transB=trans_b), x, weights, s.random(5)), 5)
    assert kinds(optimized(s.graph(y), RULE)[0]) == ["Gemm"]


def test_into_the_matmul_before() -> None:
    s = Sketch()
    y = batch_norm(s, s.add(MatMul(), s.input(4, 7), s.random(7, 5)), 5)
    assert kinds(optimized(s.graph(y), RULE)[0]) == ["Gemm"]


@pytest.mark.parametrize("group", [1, 3])
def test_into_the_convolution_after_without_padding(group: int) -> None:
    s = Sketch()
    x = s.add(Relu(), s.input(1, 6, 5, 5))
    y = s.add(Conv(window(0), group), batch_norm(s, x, 6), s.random(6, 6 // group, 3, 3))
    assert kinds(optimized(s.graph(y), RULE)[0]) == ["Relu", "Conv"]


def test_before_padding_it_becomes_mul_and_add() -> None:
    s = Sketch()
    x = s.add(Relu(), s.input(1, 6, 5, 5))
    y = s.add(Conv(window(), 1), batch_norm(s, x, 6), s.random(4, 6, 3, 3))
    assert kinds(optimized(s.graph(y), RULE)[0]) == ["Relu", "Mul", "Add", "Conv"]


def test_shared_operands_stay() -> None:
    s = Sketch()
    x, weights = s.input(1, 6, 5, 5), s.random(6, 6, 3, 3)
    inner = s.add(Conv(window()), x, weights)
    other = s.add(Conv(window()), x, weights)
    y = batch_norm(s, inner, 6)
    z = batch_norm(s, other, 6)
    result, _ = optimized(s.graph(y, z, s.add(Relu(), inner)), RULE)
    assert kinds(result).count("Mul") == 2


def test_run_time_parameters_are_left() -> None:
    s = Sketch()
    x, scale = s.input(1, 3, 4), s.input(3)
    y = s.add(BatchNormalization(), x, scale, s.random(3), s.random(3), s.random(3, low=0.5))
    result, report = optimized(s.graph(y), RULE)
    assert kinds(result) == ["BatchNormalization"]
    assert report.reasons("batchnormalization0") == {RULE: "its parameters are computed at run time"}


def test_overflow_is_left() -> None:
    s = Sketch()
    x = s.input(1, 1, 4)
    zero, huge = s.constant(np.zeros(1)), s.constant(np.full(1, 3e38))
    y = s.add(BatchNormalization(1e-30), x, huge, zero, zero, zero)
    result, report = optimized(s.graph(y), RULE, feeds={"x0": np.zeros((1, 1, 4), np.float32)})
    assert kinds(result) == ["BatchNormalization"]
    assert "not finite" in report.reasons("batchnormalization0")[RULE]
