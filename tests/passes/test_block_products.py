"""Products with weights that are dequantised by block."""

from __future__ import annotations

import numpy as np
import pytest

from edgesmith.ops.block_scales import BlockMatMul, DequantizeLinearByBlock
from edgesmith.ops.conv import Conv
from edgesmith.ops.gemm import Gemm
from edgesmith.ops.matmul import MatMul
from edgesmith.ops.window import Window

from .graphs import Sketch, kinds, optimized


def weights(s: Sketch, *shape: int, axis: int, block: int, affine: bool = False) -> str:
    blocks = tuple(-(-n // block) if a == axis else n for a, n in enumerate(shape))
    operands = [
        s.constant(s.rng.integers(-8, 8, shape).astype(np.int8)),
        s.constant(s.rng.uniform(0.01, 0.1, blocks).astype(np.float32)),
    ]
    if affine:
        operands.append(s.constant(s.rng.integers(-8, 8, blocks).astype(np.int8)))
    return s.add(DequantizeLinearByBlock(axis, block), *operands)


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("block", [16, 24])
def test_matmul(affine: bool, block: int) -> None:
    s = Sketch()
    y = s.add(MatMul(), s.input(2, 3, 64), weights(s, 64, 20, axis=0, block=block, affine=affine))
    result, _ = optimized(s.graph(y))
    assert kinds(result) == ["BlockMatMul"]
    assert result.nodes[0].op == BlockMatMul(block)
    assert [result.constants[v].dtype for v in result.nodes[0].read[1:3]] == [np.int8, np.float32]


@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("beta", [1.0, 0.5])
def test_gemm(transposed: int, beta: float) -> None:
    s = Sketch()
    shape = (20, 64) if transposed else (64, 20)
    w = weights(s, *shape, axis=transposed, block=16)
    y = s.add(Gemm(beta=beta, transB=transposed), s.input(3, 64), w, s.random(20))
    result, _ = optimized(s.graph(y))
    assert kinds(result) == ["BlockMatMul", "Add"]


def test_weights_of_two_products() -> None:
    s = Sketch()
    w = weights(s, 64, 20, axis=0, block=16)
    result, _ = optimized(s.graph(*(s.add(MatMul(), s.input(3, 64), w) for _ in range(2))))
    assert kinds(result) == ["BlockMatMul"] * 2


def reasons(s: Sketch, *outputs: str) -> list[str]:
    result, report = optimized(s.graph(*outputs))
    assert not any("Block" in kind for kind in kinds(result))
    return [why for (rule, _), why in report.skipped.items() if rule == "block-products"]


def test_what_becomes_f32() -> None:
    s = Sketch()
    along_channels = weights(s, 64, 32, axis=1, block=16)
    optimized(s.graph(s.add(MatMul(), s.input(3, 64), along_channels)))
    s = Sketch()
    window = Window((1, 1), (1, 1), (0, 0), (0, 0), (1, 1))
    y = s.add(Conv(window), s.input(1, 32, 4, 4), weights(s, 8, 32, 1, 1, axis=1, block=16))
    result, _ = optimized(s.graph(y))
    (node,) = result.nodes
    assert node.op.name == "Conv" and result.constants[node.inputs[1]].dtype == np.float32
    s = Sketch()
    assert not reasons(s, s.add(Gemm(transA=1), s.input(64, 3), weights(s, 64, 20, axis=0, block=16)))
