"""SignConv and SignMatMul: sums of products of signs with small integers, as binary and ternary networks have them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from edgesmith.c.writer import Writer
from edgesmith.errors import UnsupportedOp
from edgesmith.ir import DType, Node, Op, TensorType
from edgesmith.ops.base import Array, Case, operator
from edgesmith.ops.cast import Cast
from edgesmith.ops.comparison import GreaterOrEqual
from edgesmith.ops.conv import write_convolution
from edgesmith.ops.integer_products import ConvolutionSums, IntegerProduct, MatrixSums
from edgesmith.ops.matmul import MatMul, write_matrix_product
from edgesmith.ops.sign import Sign
from edgesmith.ops.where import Where
from edgesmith.ops.window import Window

__all__ = ["SignConv", "SignMatMul", "SignProduct"]


class SignProduct(IntegerProduct):
    """Sums of sign(x) * w, where padding counts as 0. Inputs are x (i8) and the weights (bytes); no zero points."""

    binary: bool
    """Whether the sign is 1 from 0 on and -1 below; otherwise it is 0 at 0."""

    def signs(self, x: np.ndarray) -> np.ndarray:
        return np.where(x >= 0, 1, -1) if self.binary else np.sign(x.astype(np.int16))

    def _check(self, inputs: Sequence[TensorType | None], channels: int) -> None:
        super()._check(inputs, channels)
        assert inputs[0] is not None
        if inputs[0].dtype is not DType.I8:
            raise UnsupportedOp(f"{self.name} of {inputs[0]}")

    def _wide(self, inputs: Sequence[np.ndarray | None]) -> tuple[np.ndarray, np.ndarray]:
        x, w = inputs
        assert x is not None and w is not None
        return self.signs(x).astype(np.float64), w.astype(np.float64)

    def sign(self, element: str) -> str:
        """C text of the sign of an element."""
        return f"({element} < 0 ? -1 : 1)" if self.binary else f"(({element} > 0) - ({element} < 0))"

    def _spelled_out(self, node: Node, product: Op) -> tuple[tuple[Node, ...], Mapping[str, np.ndarray]]:
        """The same in floats, which hold the sums exactly."""
        x, w = node.inputs
        y = node.outputs[0]
        constants: dict[str, np.ndarray] = {}
        nodes = [
            Node(f"{node.name}:floats", Cast(DType.F32), (x,), (f"{y}:floats",)),
            Node(f"{node.name}:weights", Cast(DType.F32), (w,), (f"{y}:weights",)),
        ]
        if self.binary:
            constants = {f"{y}:{n}": np.array(n, np.float32) for n in (-1, 0, 1)}
            compare = (f"{y}:floats", f"{y}:0"), (f"{y}:positive",)
            nodes.append(Node(f"{node.name}:positive", GreaterOrEqual(), *compare))
            choose = (f"{y}:positive", f"{y}:1", f"{y}:-1"), (f"{y}:signs",)
            nodes.append(Node(f"{node.name}:signs", Where(), *choose))
        else:
            nodes.append(Node(f"{node.name}:signs", Sign(), (f"{y}:floats",), (f"{y}:signs",)))
        nodes.append(Node(f"{node.name}:sums", product, (f"{y}:signs", f"{y}:weights"), (f"{y}:sums",)))
        nodes.append(Node(node.name, Cast(DType.I32), (f"{y}:sums",), node.outputs))
        return tuple(nodes), constants

    @staticmethod
    def _weights(rng: np.random.Generator, shape: tuple[int, ...], *, ternary: bool) -> np.ndarray:
        found = rng.integers(-1, 2, shape) if ternary else 2 * rng.integers(0, 2, shape) - 1
        return found.astype(np.int8)


@operator
@dataclass(frozen=True)
class SignConv(SignProduct, ConvolutionSums):
    """Convolution of the signs of (N, C, *spatial) with (M, C / group, *kernel), in i32.

    Source: Rastegari et al., XNOR-Net, ECCV 2016.
    """

    name: ClassVar[str] = "SignConv"
    window: Window
    group: int = 1
    binary: bool = True

    def spelled_out(self, node: Node) -> tuple[tuple[Node, ...], Mapping[str, np.ndarray]]:
        return self._spelled_out(node, self.floats)

    def portable(self, w: Writer, inputs: Sequence[Array | None], outputs: Sequence[Array]) -> None:
        x, k = inputs
        assert x is not None and k is not None
        write_convolution(w, self.window, self.group, x, k, outputs[0], "0", lambda e, z: f"{self.sign(e)} * {z}")

    @classmethod
    def cases(cls) -> Iterator[Case]:
        rng = np.random.default_rng(6)

        def case(name: str, x: TensorType, filters: int, size: int, pads: int = 0, **given: Any) -> Case:
            ternary, binary, group = given.pop("ternary", False), given.pop("binary", True), given.pop("group", 1)
            axes = {"strides": (1, 1), "pads_begin": (pads, pads), "pads_end": (pads, pads), "dilations": (1, 1)}
            op = cls(Window((size, size), **{**axes, **given}), group, binary)
            shape = (filters, x.shape[1] // group, size, size)
            return Case(op, (x, cls._weights(rng, shape, ternary=ternary)), name)

        yield case("3x3", TensorType((1, 64, 7, 9), DType.I8), 40, 3, 1)
        yield case("3x3-ternary", TensorType((1, 24, 6, 7), DType.I8), 33, 3, 1, ternary=True)
        yield case("3x3-signs-of-0", TensorType((1, 36, 6, 7), DType.I8), 16, 3, 1, binary=False)
        yield case("3x3-ternary-of-0", TensorType((2, 7, 6, 5), DType.I8), 70, 3, 1, ternary=True, binary=False)
        yield case("1x1-stride2", TensorType((2, 130, 5, 5), DType.I8), 64, 1, strides=(2, 2))
        yield case("1x1-deep", TensorType((1, 520, 4, 5), DType.I8), 9, 1, binary=False)
        yield case("5x5-odd", TensorType((1, 13, 9, 8), DType.I8), 21, 5, 2, strides=(2, 1))
        yield case("dilated", TensorType((1, 10, 12, 12), DType.I8), 8, 3, 2, dilations=(2, 3))
        yield case("grouped", TensorType((1, 8, 6, 6), DType.I8), 12, 3, 1, group=4)


@operator
@dataclass(frozen=True)
class SignMatMul(SignProduct, MatrixSums):
    """Product of the signs of stacks of matrices with matrices, by numpy's rules, in i32."""

    name: ClassVar[str] = "SignMatMul"
    binary: bool = True

    def spelled_out(self, node: Node) -> tuple[tuple[Node, ...], Mapping[str, np.ndarray]]:
        return self._spelled_out(node, MatMul())

    def portable(self, w: Writer, inputs: Sequence[Array | None], outputs: Sequence[Array]) -> None:
        a, b = inputs
        assert a is not None and b is not None
        write_matrix_product(w, a, b, outputs[0], lambda x, z: f"(uint32_t)({self.sign(x)} * {z})")

    @classmethod
    def cases(cls) -> Iterator[Case]:
        rng = np.random.default_rng(7)
        for binary, ternary in ((True, False), (True, True), (False, False), (False, True)):
            weights = cls._weights(rng, (133, 45), ternary=ternary)
            name = f"{'ternary' if ternary else 'binary'}{'' if binary else '-of-0'}"
            yield Case(cls(binary), (TensorType((5, 133), DType.I8), weights), name)
        yield Case(cls(), (TensorType((2, 1, 96), DType.I8), cls._weights(rng, (96, 80), ternary=False)), "one row")
        yield Case(cls(), (TensorType((1, 70000), DType.I8), cls._weights(rng, (70000, 9), ternary=False)), "long")
