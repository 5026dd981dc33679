"""ReverseSequence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgesmith.c.writer import Writer
from edgesmith.errors import ModelError
from edgesmith.ir import Cost, DType, TensorType
from edgesmith.ops.base import Array, Case, Operator, f32, operator


@operator
@dataclass(frozen=True)
class ReverseSequence(Operator):
    """The first elements along time of each batch entry in reverse order, as many as ``sequence_lens`` says.

    Source: https://onnx.ai/onnx/operators/onnx__ReverseSequence.html.
    """

    name: ClassVar[str] = "ReverseSequence"
    time_axis: int = 0
    batch_axis: int = 1

    def infer(self, inputs: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        x, lengths = inputs
        assert x is not None and lengths is not None
        if (
            x.rank < 2
            or sorted((self.time_axis, self.batch_axis)) != [0, 1]
            or lengths != TensorType((x.shape[self.batch_axis],), DType.I64)
        ):
            raise ModelError(f"{self} of {x} with {lengths}", where=self.name)
        return (x,)

    def reference(self, *inputs: np.ndarray | None) -> tuple[np.ndarray, ...]:
        x, lengths = inputs
        assert x is not None and lengths is not None
        rows = x.swapaxes(0, 1) if self.batch_axis else x
        y = np.stack([np.concatenate([row[:n][::-1], row[n:]]) for row, n in zip(rows, lengths.clip(0), strict=True)])
        return (y.swapaxes(0, 1).copy() if self.batch_axis else y,)

    def cost(self, inputs: Sequence[TensorType | None], outputs: Sequence[TensorType]) -> Cost:
        return Cost()

    def portable(self, w: Writer, inputs: Sequence[Array | None], outputs: Sequence[Array]) -> None:
        (x, lengths), (y,) = inputs, outputs
        assert x is not None and lengths is not None
        index = [f"i{a}" for a in range(x.view.rank)]
        time, batch = index[self.time_axis], index[self.batch_axis]
        steps = x.view.shape[self.time_axis]
        source = [*index]
        source[self.time_axis] = "from"
        with w.block("if (begin < end)"), w.loop(batch, x.view.shape[self.batch_axis]):
            if steps == 1:
                w.line(f"(void){lengths.pointer};")
            else:
                w.line(f"const int64_t given = {lengths.at(batch)};")
                w.line(f"const int32_t length = (int32_t)(given < 0 ? 0 : given > {steps} ? {steps} : given);")
            with w.loop(time, steps):
                if steps > 1:
                    w.line(f"const int32_t from = {time} < length ? length - 1 - {time} : {time};")
                with w.nest(list(zip(index[2:], x.view.shape[2:], strict=True))):
                    w.line(f"{y.at(*index)} = {x.at(*source)};")

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield Case(cls(), (f32(5, 3, 2), np.array([5, 1, 3])), "time first")
        yield Case(cls(1, 0), (TensorType((2, 4), DType.I32), np.array([4, 2])), "batch first")
