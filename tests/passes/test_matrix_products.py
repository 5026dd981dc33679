"""Normal form of matrix products."""

from __future__ import annotations

import numpy as np
import pytest

from edgesmith.ir import DType
from edgesmith.ops.add import Add
from edgesmith.ops.gemm import Gemm
from edgesmith.ops.matmul import MatMul
from edgesmith.ops.mul import Mul
from edgesmith.ops.relu import Relu

from .graphs import Sketch, kinds, optimized

TO_GEMM, NORMAL = "matmul-to-gemm", "gemm-normal-form"


@pytest.mark.parametrize("x", [(3, 4), (2, 3, 4), (2, 1, 3, 4)], ids=str)
@pytest.mark.parametrize("weights", [(4, 5), (1, 4, 5), (1, 1, 4, 5)], ids=str)
@pytest.mark.parametrize("bias", [None, (5,), (1, 5), ()], ids=str)
def test_one_matrix_of_weights(x: tuple[int, ...], weights: tuple[int, ...], bias: tuple[int, ...] | None) -> None:
    s = Sketch()
    y = s.add(MatMul(), s.input(*x), s.random(*weights))
    if bias is not None:
        y = s.add(Add(), y, s.random(*bias))
    result, _ = optimized(s.graph(y), TO_GEMM, "fold-scale-shift")
    assert [k for k in kinds(result) if k != "Reshape"] == ["Gemm"]


def test_scale_goes_into_the_weights_first() -> None:
    s = Sketch()
    y = s.add(Mul(), s.add(MatMul(), s.input(2, 3, 4), s.random(4, 5)), s.random(5))
    result, _ = optimized(s.graph(y))
    assert kinds(result) == ["Reshape", "Gemm", "Reshape"]


def test_what_is_no_single_product() -> None:
    s = Sketch()
    x, i = s.input(2, 3, 4), s.input(3, 4, dtype=DType.I32)
    outputs = [
        s.add(MatMul(), x, s.random(2, 4, 5)),
        s.add(MatMul(), x, s.random(4)),
        s.add(MatMul(), x, s.input(4, 5)),
        s.add(MatMul(), i, s.constant(np.ones((4, 2), np.int32))),
    ]
    result, report = optimized(s.graph(*outputs), TO_GEMM)
    assert kinds(result) == ["MatMul"] * 4
    assert len(report.skipped) == 4 and "run time" in report.reasons("matmul2")[TO_GEMM]


@pytest.mark.parametrize("bias", [(5,), (1, 5), (1,), (), (3, 1), (3, 5)], ids=str)
@pytest.mark.parametrize("op", [Gemm(0.5, 2.0, 0, 1), Gemm(1.5, 1.0, 1, 0), Gemm(1.0, 0.25, 1, 1)], ids=str)
def test_factors_and_transposes(op: Gemm, bias: tuple[int, ...]) -> None:
    s = Sketch()
    x = s.input(4, 3) if op.transA else s.input(3, 4)
    weights = s.random(5, 4) if op.transB else s.random(4, 5)
    result, _ = optimized(s.graph(s.add(op, x, weights, s.random(*bias))), NORMAL)
    (node,) = result.nodes
    assert node.op == Gemm(transA=op.transA)
    assert result.type(node.inputs[1]).shape == (4, 5)
    assert result.type(node.inputs[2]).shape == ((5,) if bias not in ((3, 1), (3, 5)) else bias)


def test_bias_of_zeros_goes() -> None:
    s = Sketch()
    y = s.add(Gemm(), s.input(3, 4), s.random(4, 5), s.constant(np.zeros(5)))
    result, _ = optimized(s.graph(y), NORMAL)
    assert len(result.nodes[0].inputs) == 2


def test_run_time_weights_are_left() -> None:
    s = Sketch()
    y = s.add(Gemm(alpha=2.0), s.add(Relu(), s.input(3, 4)), s.input(4, 5))
    result, report = optimized(s.graph(y), NORMAL)
    assert result.nodes[1].op == Gemm(alpha=2.0)
    assert report.reasons("gemm1") == {NORMAL: "its weights are computed at run time"}
