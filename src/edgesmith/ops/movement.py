"""Operators that only move elements: outputs are views of inputs, or copies where no view exists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgesmith.c.writer import Writer
from edgesmith.errors import UnsupportedOp
from edgesmith.ir import Cost, TensorType, View
from edgesmith.ops.base import Array, Operator

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

    def portable(self, w: Writer, inputs: Sequence[Array | None], outputs: Sequence[Array]) -> None:
        """Loops over ``copies``; overridden where there may be none."""
        given = [a for a in inputs if a is not None]
        copies = self.copies([a.view for a in given], [a.view for a in outputs])
        if copies is None:
            raise UnsupportedOp(f"{self.name} has no portable C")
        with w.block("if (begin < end)"):
            for copy in copies:
                source = _inside(given[copy.input], copy.source)
                destination = _inside(outputs[copy.output], copy.destination)
                index = [f"i{a}" for a in range(destination.view.rank)]
                with w.nest([(index[a], destination.view.shape[a]) for a in destination.view.order()]):
                    w.line(f"{destination.at(*index)} = {source.at(*index)};")

    def cost(self, inputs: Sequence[TensorType | None], outputs: Sequence[TensorType]) -> Cost:
        return Cost()


def _inside(array: Array, view: View) -> Array:
    """The part of an operand that ``view`` selects."""
    shift = view.offset - array.view.offset
    return Array(f"({array.pointer} + {shift})" if shift else array.pointer, view.at_origin)
