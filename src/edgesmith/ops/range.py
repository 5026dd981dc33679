"""Range."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgesmith.c.expr import literal
from edgesmith.c.writer import Writer
from edgesmith.errors import ModelError
from edgesmith.ir import DType, TensorType
from edgesmith.ops.base import Array, Case, OnnxNode, Operator, operator

_DTYPES = (DType.F32, DType.F64, DType.I16, DType.I32, DType.I64)


@operator
@dataclass(frozen=True)
class Range(Operator):
    """start + i * delta for i below ``length``, all known at compile time.

    Source: https://onnx.ai/onnx/operators/onnx__Range.html.
    """

    name: ClassVar[str] = "Range"
    start: np.generic
    delta: np.generic
    length: int

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> tuple[Operator, tuple[str, ...]]:
        names = ("start", "limit", "delta")
        start, limit, delta = (
            None if v is None else v.reshape(-1)[0] for v in (node.operand(i, what) for i, what in enumerate(names))
        )
        if start is None or limit is None or delta is None or not delta:
            raise ModelError(f"Range from {start} to {limit} by {delta}", where=node.name)
        exact = [v.item() for v in (start, limit, delta)]
        length = -((exact[0] - exact[1]) // exact[2]) if isinstance(exact[0], int) else None
        if length is None:
            length = math.ceil((exact[1] - exact[0]) / exact[2])
        return cls(start, delta, max(0, length)), ()

    def to_onnx(self) -> tuple[str, dict[str, object], tuple[np.ndarray | None, ...]]:
        kind = self.start.dtype.type
        # Half a step before the end: rounding the limit cannot change the length.
        half = 0 if np.issubdtype(kind, np.integer) else 0.5
        limit = kind(self.start.item() + (self.length - half) * self.delta.item())
        return self.name, {}, tuple(np.asarray(v) for v in (self.start, limit, self.delta))

    def infer(self, inputs: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        dtype = DType.of(self.start.dtype)
        if dtype not in _DTYPES or self.delta.dtype != self.start.dtype:
            raise ModelError(f"{self} mixes element types", where=self.name)
        return (TensorType((self.length,), dtype),)

    def reference(self, *inputs: np.ndarray | None) -> tuple[np.ndarray, ...]:
        return (self.start + np.arange(self.length).astype(self.start.dtype) * self.delta,)

    def reduction_length(self, inputs: Sequence[TensorType | None]) -> int:
        return 2

    def portable(self, w: Writer, inputs: Sequence[Array | None], outputs: Sequence[Array]) -> None:
        (y,) = outputs
        kind = y.view.dtype
        start, delta = literal(self.start, kind), literal(self.delta, kind)
        with w.block("if (begin < end)"), w.loop("i", self.length):
            w.line(f"{y.at('i')} = ({kind.c})({start} + ({kind.c})i * {delta});")

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield Case(cls(np.int64(3), np.int64(-2), 5), (), "i64")
        yield Case(cls(np.float32(-1.5), np.float32(0.3), 7), (), "f32")
        yield Case(cls(np.int32(0), np.int32(1), 1), (), "one element")
