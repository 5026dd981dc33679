"""Cast and CastLike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgesmith.c.expr import Expr, cast
from edgesmith.ir import DType, Graph, Node, TensorType
from edgesmith.ops.base import OPS, Case, OnnxNode, Operator, operator
from edgesmith.ops.elementwise import Elementwise


@operator
@dataclass(frozen=True)
class Cast(Elementwise):
    """x in another type (https://onnx.ai/onnx/operators/onnx__Cast.html).

    Integers wrap around. Floats that an integer type cannot hold, which ONNX leaves open, saturate; NaN gives 0.
    """

    name: ClassVar[str] = "Cast"
    to: DType

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> tuple[Operator, tuple[str, ...]]:
        number = node.integer("to")
        try:
            return cls(DType(number)), node.inputs
        except ValueError:
            raise node.unsupported(f"to ONNX element type {number}") from None

    def to_onnx(self) -> tuple[str, dict[str, object], tuple[np.ndarray | None, ...]]:
        return self.name, {"to": self.to.value}, ()

    def infer(self, inputs: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        (x,) = inputs
        assert x is not None
        return (TensorType(x.shape, self.to),)

    def expression(self, *args: Expr) -> Expr:
        return cast(args[0], self.to)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        types = [t for t in DType if t is not DType.BF16]  # of which ONNX Runtime takes and gives no arrays
        for source in types:
            for to in types:
                values: TensorType | np.ndarray = TensorType((3, 7), source)
                if source.is_float and not to.is_signed and to is not DType.BOOL:
                    values = np.linspace(0, 200, 21).astype(source.numpy).reshape(3, 7)
                yield Case(cls(to), (values,), f"{source} to {to}")


def widens_half(graph: Graph, node: Node | None) -> bool:
    """Whether a node makes f32 of run-time values of fp16, which is exact: kernels do that while they read."""
    return (
        node is not None
        and isinstance(node.op, Cast)
        and node.op.to is DType.F32
        and node.inputs[0] not in graph.constants
        and graph.type(node.inputs[0]).dtype is DType.F16
    )


@OPS.register("CastLike")
class CastLike(Cast):
    """https://onnx.ai/onnx/operators/onnx__CastLike.html."""

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> tuple[Operator, tuple[str, ...]]:
        return Cast(node.type(1).dtype), node.inputs[:1]

    @classmethod
    def cases(cls) -> Iterator[Case]:
        return iter(())
