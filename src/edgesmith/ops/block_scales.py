"""Weights of few bits with a scale for each block along an axis: DequantizeLinearByBlock and BlockMatMul."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgesmith.c.writer import Writer
from edgesmith.errors import ModelError, UnsupportedOp
from edgesmith.ir import Cost, DType, Node, TensorType
from edgesmith.ops.base import Array, Case, Layout, OnnxNode, Operator, operator
from edgesmith.ops.matmul import MatMul, write_matrix_product

__all__ = ["BlockMatMul", "DequantizeLinearByBlock", "dequantized"]

_BYTES = (DType.I8, DType.U8)


def dequantized(x: np.ndarray, scale: np.ndarray, zero: np.ndarray | None, axis: int, block: int) -> np.ndarray:
    """f32((x - zero) * scale), each scale for ``block`` neighbours along ``axis``."""
    extent = x.shape[axis]

    def spread(array: np.ndarray) -> np.ndarray:
        return np.repeat(array, block, axis).take(np.arange(extent), axis)

    offset = 0 if zero is None else spread(zero).astype(np.int16)
    return np.asarray((x.astype(np.int16) - offset).astype(np.float32) * spread(scale), np.float32)


def _check(name: str, axis: int, block: int, inputs: Sequence[TensorType | None]) -> None:
    x, scale, zero = (*inputs, None)[:3]
    assert x is not None and scale is not None
    if x.dtype not in _BYTES or scale.dtype is not DType.F32:
        raise UnsupportedOp(f"{name} of {x} by {scale}")
    blocks = -(-x.shape[axis] // block)
    if scale.shape != (*x.shape[:axis], blocks, *x.shape[axis + 1 :]):
        raise ModelError(f"scale {scale} is not one for each block of {block} along axis {axis} of {x}", where=name)
    if zero is not None and (zero.dtype is not x.dtype or zero.shape != scale.shape):
        raise ModelError(f"zero point {zero} does not fit {x} and scale {scale}", where=name)


@operator
@dataclass(frozen=True)
class DequantizeLinearByBlock(Operator):
    """(x - zero point) * scale, where ``block`` neighbours along ``axis`` share a scale; the last block may be shorter.

    Inputs are x (bytes, which in ONNX may have 4 bits), the scale (f32) and, where there is one, the zero point.

    Source: https://onnx.ai/onnx/operators/onnx__DequantizeLinear.html.
    """

    name: ClassVar[str] = "DequantizeLinearByBlock"
    layout: ClassVar[Layout] = "like_input"
    axis: int
    block: int

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> tuple[Operator, tuple[str, ...]]:
        x, axis = node.type(), node.integer("axis", 1)
        block = node.integer("block_size")
        if node.attributes.get("output_dtype"):
            raise node.unsupported("an output of another type than f32")
        if not -x.rank <= axis < x.rank or block < 1:
            raise ModelError(f"blocks of {block} along axis {axis} of {x}", where=node.name)
        return cls(axis % x.rank, block), node.inputs

    def to_onnx(self) -> tuple[str, dict[str, object], tuple[np.ndarray | None, ...]]:
        return "DequantizeLinear", {"axis": self.axis, "block_size": self.block}, ()

    def infer(self, inputs: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        assert inputs[0] is not None
        _check(self.name, self.axis, self.block, inputs)
        return (TensorType(inputs[0].shape, DType.F32),)

    def reference(self, *inputs: np.ndarray | None) -> tuple[np.ndarray, ...]:
        x, scale, zero = (*inputs, None)[:3]
        assert x is not None and scale is not None
        return (dequantized(x, scale, zero, self.axis, self.block),)

    def portable(self, w: Writer, inputs: Sequence[Array | None], outputs: Sequence[Array]) -> None:
        x, scale, zero = (*inputs, None)[:3]
        (y,) = outputs
        assert x is not None and scale is not None
        index = [f"i{a}" for a in range(y.view.rank)]
        of_block = [f"i{a} / {self.block}" if a == self.axis else i for a, i in enumerate(index)]
        offset = f" - {zero.at(*of_block)}" if zero is not None else ""
        with w.block("if (begin < end)"), w.nest([(index[a], y.view.shape[a]) for a in y.view.order()]):
            w.line(f"{y.at(*index)} = (float)({x.at(*index)}{offset}) * {scale.at(*of_block)};")

    @classmethod
    def cases(cls) -> Iterator[Case]:
        rng = np.random.default_rng(2)
        scale = rng.uniform(0.01, 1, (2, 2, 4)).astype(np.float32)
        yield Case(cls(1, 3), (TensorType((2, 6, 4), DType.I8), scale), "blocks")
        zero = rng.integers(0, 16, scale.shape).astype(np.uint8)
        yield Case(cls(1, 4), (TensorType((2, 6, 4), DType.U8), scale, zero), "short last block")


@operator
@dataclass(frozen=True)
class BlockMatMul(Operator):
    """x @ ((w - zero point) * scale), where ``block`` neighbours of a column of w share a scale.

    Inputs are x (f32, (..., K)), w (bytes, (K, N)), the scale (f32, (blocks, N)) and, where there is one, the zero
    point. The sum of products may be taken with the rounded weights, or of a block without the scale first.
    """

    name: ClassVar[str] = "BlockMatMul"
    block: int

    def infer(self, inputs: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        x, w = inputs[0], inputs[1]
        assert x is not None and w is not None
        if x.dtype is not DType.F32 or w.rank != 2:
            raise UnsupportedOp(f"{self.name} of {x} with {w}")
        _check(self.name, 0, self.block, inputs[1:])
        return MatMul().infer([x, TensorType(w.shape, DType.F32)])

    def weights(self, operands: Sequence[np.ndarray | None]) -> np.ndarray:
        """(K, N) f32: what the integers stand for."""
        _, w, scale, zero = (*operands, None)[:4]
        assert w is not None and scale is not None
        return dequantized(w, scale, zero, 0, self.block)

    def reference(self, *inputs: np.ndarray | None) -> tuple[np.ndarray, ...]:
        assert inputs[0] is not None
        return (np.asarray(inputs[0] @ self.weights(inputs)),)

    def spelled_out(self, node: Node) -> tuple[tuple[Node, ...], Mapping[str, np.ndarray]]:
        weights = f"{node.outputs[0]}:weights"
        inner = Node(f"{node.name}:dequantize", DequantizeLinearByBlock(0, self.block), node.inputs[1:], (weights,))
        return (inner, Node(node.name, MatMul(), (node.inputs[0], weights), node.outputs)), {}

    def cost(self, inputs: Sequence[TensorType | None], outputs: Sequence[TensorType]) -> Cost:
        return Cost(macs=outputs[0].size * MatMul().reduction_length(inputs[:2]))

    def reduction_length(self, inputs: Sequence[TensorType | None]) -> int:
        """Terms of a sum, and the roundings of a weight and of a block's scaled sum."""
        return MatMul().reduction_length(inputs[:2]) + 2

    def tasks(self, inputs: Sequence[TensorType | None], outputs: Sequence[TensorType]) -> int:
        return MatMul().tasks(inputs[:2], outputs)

    def portable(self, w: Writer, inputs: Sequence[Array | None], outputs: Sequence[Array]) -> None:
        x, weights, scale, zero = (*inputs, None)[:4]
        assert x is not None and weights is not None and scale is not None
        of_block = (f"k / {self.block}", "j")
        offset = f" - {zero.at(*of_block)}" if zero is not None else ""

        def product(element: str, weight: str) -> str:
            return f"{element} * ((float)({weight}{offset}) * {scale.at(*of_block)})"

        write_matrix_product(w, x, weights, outputs[0], product)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        rng = np.random.default_rng(12)

        def case(name: str, shape: tuple[int, ...], channels: int, block: int, *, affine: bool = False) -> Case:
            w = rng.integers(-8, 8, (shape[-1], channels)).astype(np.int8)
            scale = rng.uniform(0.01, 0.1, (-(-shape[-1] // block), channels)).astype(np.float32)
            zero = rng.integers(-8, 8, scale.shape).astype(np.int8)
            return Case(cls(block), (TensorType(shape, DType.F32), w, scale, *([zero] if affine else [])), name)

        yield case("one row", (1, 128), 72, 32)
        yield case("three rows", (3, 64), 40, 64)
        yield case("affine", (2, 96), 33, 32, affine=True)
        yield case("by channel", (1, 77), 19, 77)
        yield case("short last block", (1, 100), 24, 32)
        yield case("many rows", (2, 23, 64), 50, 16)
        yield case("many rows, affine", (21, 80), 20, 80, affine=True)
