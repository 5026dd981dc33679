"""ConvInteger and MatMulInteger: sums of products of 8-bit and 16-bit integers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from edgesmith.c.writer import Writer
from edgesmith.errors import ModelError, UnsupportedOp
from edgesmith.ir import Cost, DType, TensorType
from edgesmith.ops.base import Array, Case, Layout, OnnxNode, Operator, operator
from edgesmith.ops.conv import Conv, convolved_shape, write_convolution
from edgesmith.ops.matmul import MatMul, write_matrix_product
from edgesmith.ops.window import Window

__all__ = ["ConvInteger", "ConvolutionSums", "IntegerProduct", "MatMulInteger", "MatrixSums"]

OPERANDS = (DType.I8, DType.U8, DType.I16, DType.U16)


class IntegerProduct(Operator):
    """Sums of (x - its zero point) * (w - its zero point); they have to fit 32 bits, or 64 where they are wide.

    Inputs are x, the weights w and, where there are any, the zero point of x (one element) and that of w: one element
    or one for each output channel.
    """

    zero_axes: ClassVar[tuple[int, int]]
    """Along which axis of x and of w their zero points lie."""

    @abstractmethod
    def product(self, x: np.ndarray, w: np.ndarray) -> np.ndarray:
        """The sums of products of operands in f64, without zero points."""

    @property
    def sums(self) -> DType:
        """Type of the sums."""
        return DType.I32

    def reference(self, *inputs: np.ndarray | None) -> tuple[np.ndarray, ...]:
        exact = self.product(*self._wide(inputs))
        return (np.asarray(exact.astype(np.int64).astype(self.sums.numpy)),)

    def squares(self, *inputs: np.ndarray | None) -> np.ndarray:
        """For each sum that of the squares of its terms, in f64."""
        return self.product(*map(np.square, self._wide(inputs)))

    def _wide(self, inputs: Sequence[np.ndarray | None]) -> tuple[np.ndarray, np.ndarray]:
        x, w, x_zero, w_zero = (*inputs, None, None)[:4]
        assert x is not None and w is not None
        return _wide(x, x_zero, self.zero_axes[0]), _wide(w, w_zero, self.zero_axes[1])

    def _check(self, inputs: Sequence[TensorType | None], channels: int) -> None:
        x, w, x_zero, w_zero = (*inputs, None, None)[:4]
        assert x is not None and w is not None
        if x.dtype not in OPERANDS or w.dtype not in OPERANDS:
            raise UnsupportedOp(f"{self.name} of {x} with {w}")
        for operand, zero, sizes in ((x, x_zero, {1}), (w, w_zero, {1, channels})):
            if zero is not None and (zero.dtype is not operand.dtype or zero.size not in sizes or zero.rank > 1):
                raise ModelError(f"zero point {zero} does not fit {operand}", where=self.name)

    def cost(self, inputs: Sequence[TensorType | None], outputs: Sequence[TensorType]) -> Cost:
        return Cost(macs=outputs[0].size * self.reduction_length(inputs))


class NumberProduct(IntegerProduct):
    """An integer product as ONNX has it, but for 16-bit operands and sums that may be i64 (``wide``)."""

    wide: bool

    @property
    def sums(self) -> DType:
        return DType.I64 if self.wide else DType.I32

    def term(self, element: str, x_zero: str | None, weight: str, w_zero: str | None) -> str:
        """C text of a product of an element and a weight, each less its zero point."""
        return f"{'(int64_t)' if self.wide else ''}{_less(element, x_zero)} * {_less(weight, w_zero)}"


class ConvolutionSums(IntegerProduct):
    """Convolution of (N, C, *spatial) with (M, C / group, *kernel); padding counts as the zero point of x."""

    layout: ClassVar[Layout] = "channels_last"
    zero_axes: ClassVar[tuple[int, int]] = (1, 0)
    window: Window
    group: int

    @property
    def floats(self) -> Conv:
        """The same of floats."""
        return Conv(self.window, self.group)

    def infer(self, inputs: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        x, w = inputs[:2]
        assert x is not None and w is not None
        shape = convolved_shape(self.name, self.window, self.group, x, w)
        self._check(inputs, shape[1])
        return (TensorType(shape, self.sums),)

    def product(self, x: np.ndarray, w: np.ndarray) -> np.ndarray:
        (y,) = self.floats.reference(x, w)
        return y

    def reduction_length(self, inputs: Sequence[TensorType | None]) -> int:
        return self.floats.reduction_length(inputs)

    def tasks(self, inputs: Sequence[TensorType | None], outputs: Sequence[TensorType]) -> int:
        return outputs[0].shape[0] * outputs[0].shape[1]


class MatrixSums(IntegerProduct):
    """Product of stacks of matrices by numpy's rules."""

    zero_axes: ClassVar[tuple[int, int]] = (-2, -1)

    def infer(self, inputs: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        a, b = inputs[:2]
        assert a is not None and b is not None
        (product,) = MatMul().infer([TensorType(t.shape, self.sums) for t in (a, b)])
        self._check(inputs, b.shape[-1] if b.rank > 1 else 1)
        return (product,)

    def product(self, x: np.ndarray, w: np.ndarray) -> np.ndarray:
        return np.asarray(x @ w)

    def reduction_length(self, inputs: Sequence[TensorType | None]) -> int:
        return MatMul().reduction_length(inputs)

    def tasks(self, inputs: Sequence[TensorType | None], outputs: Sequence[TensorType]) -> int:
        return MatMul().tasks(inputs[:2], outputs)


def _wide(array: np.ndarray, zero: np.ndarray | None, axis: int) -> np.ndarray:
    """The array less its zero points along an axis, as f64: sums of products of such numbers are exact."""
    wide = array.astype(np.float64)
    if zero is None:
        return wide
    along = [-1 if a == axis % array.ndim and zero.size > 1 else 1 for a in range(array.ndim)]
    return np.asarray(wide - zero.reshape(along))


def _less(element: str, zero: str | None) -> str:
    return f"({element} - {zero})" if zero else element


@operator
@dataclass(frozen=True)
class ConvInteger(NumberProduct, ConvolutionSums):
    """Convolution of (N, C, *spatial) with (M, C / group, *kernel); padding counts as the zero point of x.

    Source: https://onnx.ai/onnx/operators/onnx__ConvInteger.html; 16-bit operands and wide sums are not ONNX.

    Args:
        wide: the sums are i64.
    """

    name: ClassVar[str] = "ConvInteger"
    window: Window
    group: int = 1
    wide: bool = False

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> tuple[Operator, tuple[str, ...]]:
        conv, inputs = Conv.from_onnx(node)
        assert isinstance(conv, Conv)
        return cls(conv.window, conv.group), inputs

    def to_onnx(self) -> tuple[str, dict[str, object], tuple[np.ndarray | None, ...]]:
        return self.name, {**self.window.to_onnx(), "group": self.group}, ()

    def portable(self, w: Writer, inputs: Sequence[Array | None], outputs: Sequence[Array]) -> None:
        x, k, x_zero, w_zero = (*inputs, None, None)[:4]
        assert x is not None and k is not None
        x_offset = f"{x_zero.pointer}[0]" if x_zero else None
        w_offset = w_zero.at(*["m"] * w_zero.view.rank) if w_zero else None
        write_convolution(
            w, self.window, self.group, x, k, outputs[0], "0", lambda e, z: self.term(e, x_offset, z, w_offset)
        )

    @classmethod
    def cases(cls) -> Iterator[Case]:
        rng = np.random.default_rng(3)

        def case(name: str, x: TensorType, filters: int, kernel: int, group: int = 1, **window: Any) -> Case:
            one = (1,) * (x.rank - 2)
            zero = (0,) * (x.rank - 2)
            given: dict[str, Any] = {"strides": one, "pads_begin": zero, "pads_end": zero, "dilations": one, **window}
            op = cls(Window((kernel,) * len(one), **given), group)
            weights = rng.integers(-127, 128, (filters, x.shape[1] // group, *op.window.kernel)).astype(np.int8)
            return Case(op, (x, weights, np.array(zero_points[x.dtype], x.dtype.numpy)), name)

        zero_points = {DType.U8: 119, DType.I8: -5}
        pad: dict[str, Any] = {"pads_begin": (1, 1), "pads_end": (1, 1)}
        yield case("1x1", TensorType((1, 24, 7, 9), DType.U8), 33, 1)
        yield case("1x1-stride2", TensorType((2, 13, 9, 9), DType.I8), 16, 1, strides=(2, 2))
        yield case("3x3", TensorType((1, 16, 9, 11), DType.U8), 24, 3, **pad)
        yield case("3x3-first", TensorType((1, 3, 15, 14), DType.U8), 16, 3, strides=(2, 2), pads_end=(1, 1))
        yield case("3x3-odd", TensorType((2, 5, 6, 10), DType.I8), 7, 3, **pad)
        yield case("dilated", TensorType((1, 6, 12, 12), DType.U8), 8, 3, dilations=(2, 3), **pad)
        yield case("depthwise", TensorType((1, 40, 8, 9), DType.U8), 40, 3, 40, **pad)
        yield case("depthwise-5x5-s2", TensorType((2, 19, 9, 9), DType.I8), 19, 5, 19, strides=(2, 2), **pad)
        yield case("grouped", TensorType((1, 8, 6, 6), DType.U8), 12, 3, 4, **pad)
        yield case("1d", TensorType((2, 6, 15), DType.U8), 4, 3)
        window = Window((1, 1), (1, 1), (0, 0), (0, 0), (1, 1))
        u8 = (TensorType((1, 9, 4, 4), DType.U8), rng.integers(0, 256, (6, 9, 1, 1)).astype(np.uint8))
        yield Case(cls(window), (*u8, None, np.array(131, np.uint8)), "weights with a zero point")


@operator
@dataclass(frozen=True)
class MatMulInteger(NumberProduct, MatrixSums):
    """Product of stacks of matrices by numpy's rules.

    Source: https://onnx.ai/onnx/operators/onnx__MatMulInteger.html; 16-bit operands and wide sums are not ONNX.

    Args:
        wide: the sums are i64.
    """

    name: ClassVar[str] = "MatMulInteger"
    wide: bool = False

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> tuple[Operator, tuple[str, ...]]:
        return cls(), node.inputs

    def to_onnx(self) -> tuple[str, dict[str, object], tuple[np.ndarray | None, ...]]:
        return self.name, {}, ()

    def portable(self, w: Writer, inputs: Sequence[Array | None], outputs: Sequence[Array]) -> None:
        a, b, a_zero, b_zero = (*inputs, None, None)[:4]
        assert a is not None and b is not None
        a_offset = f"{a_zero.pointer}[0]" if a_zero else None
        b_offset = b_zero.at(*["j"] * b_zero.view.rank) if b_zero else None

        kind = "uint64_t" if self.wide else "uint32_t"
        write_matrix_product(w, a, b, outputs[0], lambda x, z: f"({kind})({self.term(x, a_offset, z, b_offset)})")

    @classmethod
    def cases(cls) -> Iterator[Case]:
        rng = np.random.default_rng(4)
        weights = rng.integers(-127, 128, (20, 33)).astype(np.int8)
        yield Case(cls(), (TensorType((7, 20), DType.U8), weights, np.array(7, np.uint8)), "weights")
        yield Case(cls(), (TensorType((2, 7, 20), DType.I8), weights), "batched")
        stacks = (TensorType((2, 3, 5, 8), DType.U8), TensorType((8, 4), DType.I8))
        yield Case(cls(), (*stacks, np.array(130, np.uint8), np.array([1, -2, 3, 0], np.int8)), "run-time operands")
