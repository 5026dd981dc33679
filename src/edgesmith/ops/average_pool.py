"""AveragePool."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgesmith.c.writer import Writer
from edgesmith.ir import TensorType
from edgesmith.ops.base import Array, Case, OnnxNode, Operator, f32, operator
from edgesmith.ops.pool import Pool, pool_window
from edgesmith.ops.window import Window


@operator
@dataclass(frozen=True)
class AveragePool(Pool):
    """Mean of each window over the elements inside the input (https://onnx.ai/onnx/operators/onnx__AveragePool.html).

    Args:
        count_include_pad: 1: pads count as zeros; what hangs over the pads (``ceil``) never counts.
    """

    name: ClassVar[str] = "AveragePool"
    count_include_pad: int = 0

    @classmethod
    def from_onnx(cls, node: OnnxNode) -> tuple[Operator, tuple[str, ...]]:
        return cls(pool_window(node), node.integer("count_include_pad", 0)), node.inputs

    def to_onnx(self) -> tuple[str, dict[str, object], tuple[np.ndarray | None, ...]]:
        name, attributes, operands = super().to_onnx()
        if set(self.window.dilations) == {1}:
            del attributes["dilations"]  # ONNX Runtime's integer kernel knows no such attribute
        return name, {**attributes, "count_include_pad": self.count_include_pad}, operands

    def reduction_length(self, inputs: Sequence[TensorType | None]) -> int:
        return math.prod(self.window.kernel)

    def _counts(self, spatial: Sequence[int], axis: int) -> list[int]:
        """Number of taps that count along an axis, for each output."""
        window = self.window
        begin, n = window.pads_begin[axis], spatial[axis]
        first, last = (0, begin + n + window.pads_end[axis]) if self.count_include_pad else (begin, begin + n)
        starts = [o * window.strides[axis] for o in range(window.output(spatial, self.name)[axis])]
        taps = range(0, window.kernel[axis] * window.dilations[axis], window.dilations[axis])
        return [sum(first <= start + tap < last for tap in taps) for start in starts]

    def reference(self, *inputs: np.ndarray | None) -> tuple[np.ndarray, ...]:
        (x,) = inputs
        assert x is not None
        total = np.sum([t.astype(np.float64) for _, t in self.window.taps(x, self.name)], axis=0)
        counts = [self._counts(x.shape[2:], a) for a in range(x.ndim - 2)]
        count = math.prod(np.ix_(*map(np.array, counts)))
        return ((total / count).astype(x.dtype),)

    def portable(self, w: Writer, inputs: Sequence[Array | None], outputs: Sequence[Array]) -> None:
        (x,), (y,) = inputs, outputs
        assert x is not None
        kind = y.view.dtype.c
        counts = [self._counts(x.view.shape[2:], a) for a in range(x.view.rank - 2)]
        even = all(len(set(c)) == 1 for c in counts)
        with self.each_output(w, y) as element:
            w.line(f"{kind} sum = 0;")
            count = str(math.prod(c[0] for c in counts))
            if not even and self.count_include_pad:
                count = " * ".join(self._padded_count(w, x.view.shape[2 + a], a) for a in range(len(counts)))
            elif not even:
                count = "count"
                w.line("int32_t count = 0;")
            with self.each_tap(w, x, y) as candidate:
                w.line(f"sum += {candidate};")
                if count == "count":
                    w.line("++count;")
            w.line(f"{element} = sum / ({kind})({count});")

    def _padded_count(self, w: Writer, n: int, axis: int) -> str:
        """Write the number of taps before the end of the trailing pad and return its name."""
        window = self.window
        k, s, d = window.kernel[axis], window.strides[axis], window.dilations[axis]
        room = window.pads_begin[axis] + n + window.pads_end[axis]
        w.line(f"const int32_t room{axis} = ({room - 1} - o{axis} * {s}) / {d} + 1;")
        w.line(f"const int32_t count{axis} = room{axis} < {k} ? room{axis} : {k};")
        return f"count{axis}"

    @classmethod
    def cases(cls) -> Iterator[Case]:
        two, one, zero = (2, 2), (1, 1), (0, 0)
        yield Case(cls(Window((3, 3), two, one, one, one)), (f32(1, 19, 9, 10),), "3x3-stride2-pad")
        yield Case(cls(Window((3, 3), one, one, one, one), 1), (f32(1, 5, 6, 6),), "include-pad")
        yield Case(cls(Window((2, 2), two, zero, zero, one)), (f32(2, 8, 6, 7),), "2x2")
        yield Case(cls(Window((3, 3), two, zero, zero, one, True)), (f32(1, 5, 8, 8),), "ceil")
        yield Case(cls(Window((3, 3), two, one, one, one, True), 1), (f32(1, 5, 8, 8),), "ceil-include-pad")
        yield Case(cls(Window((2, 3), one, one, one, two)), (f32(1, 4, 9, 9),), "dilated")
        yield Case(cls(Window((3,), (2,), (1,), (0,), (1,))), (f32(2, 3, 11),), "1d")
        yield Case(cls(Window((2, 2, 2), (1, 2, 1), (1, 0, 0), (0, 1, 0), (1, 1, 1))), (f32(1, 2, 3, 4, 5),), "3d")
