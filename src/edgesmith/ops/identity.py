"""Identity."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgesmith.ir import TensorType, View
from edgesmith.ops.base import Case, Layout, f32, operator
from edgesmith.ops.movement import Movement


@operator
@dataclass(frozen=True)
class Identity(Movement):
    """y = x; as a step, a copy into another place or layout (https://onnx.ai/onnx/operators/onnx__Identity.html)."""

    name: ClassVar[str] = "Identity"
    layout: ClassVar[Layout] = "row_major"

    def infer(self, inputs: Sequence[TensorType | None]) -> tuple[TensorType, ...]:
        assert inputs[0] is not None
        return (inputs[0],)

    def reference(self, *inputs: np.ndarray | None) -> tuple[np.ndarray, ...]:
        assert inputs[0] is not None
        return (inputs[0].copy(),)

    def views(self, input: View) -> tuple[View | None, ...]:
        return (input,)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield Case(cls(), (f32(2, 3, 4, 5),))
