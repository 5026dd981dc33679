"""Operators that only move elements: outputs are views of inputs, or copies where no view exists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgesmith.ir import Cost, TensorType, View
from edgesmith.ops.base import Operator

__all__ = ["Copy", "Movement"]


@dataclass(frozen=True)
class Copy:
    """Elementwise copy between two views of equal shape: ``source`` of input number ``input``, and so on."""

    input: int
    source: View
    output: int
    destination: View


class Movement(Operator):
    """An operator whose output elements are input elements, without arithmetic."""

    def views(self, input: View) -> tuple[View | None, ...]:
        """For each output its view of the only input's buffer, or None where the strides do not allow one."""
        raise NotImplementedError

    def copies(self, inputs: Sequence[View], outputs: Sequence[View]) -> Sequence[Copy] | None:
        """Strided copies that do the move; None when only index arithmetic (``portable``) can do it."""
        views = self.views(inputs[0])
        pairs = list(zip(views, outputs, strict=True))
        return [Copy(0, v, i, o) for i, (v, o) in enumerate(pairs) if v is not None] if None not in views else None

    def cost(self, inputs: Sequence[TensorType | None], outputs: Sequence[TensorType]) -> Cost:
        return Cost()
