"""How the density falls during training."""

from __future__ import annotations

from dataclasses import dataclass

from edgesmith.errors import BadInput

__all__ = ["Cubic"]


@dataclass(frozen=True)
class Cubic:
    """From ``initial`` to the final density by the cube of the remaining time; Zhu and Gupta, arXiv:1710.01878.

    Args:
        begin: the step, counted from 0, until which nothing changes.
        end: the step from which the density is the final one.
        every: steps between changes of the masks; there is one at ``end``, too.
        initial: density until ``begin``.

    Raises:
        BadInput: ``end`` is not after ``begin``, or there are no steps between changes.
    """

    begin: int
    end: int
    every: int = 100
    initial: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.begin < self.end or self.every < 1 or not 0 < self.initial <= 1:
            raise BadInput(f"{self} is no schedule", where="Cubic", hint="such as Cubic(begin=0, end=1000, every=100)")

    def density(self, step: int, final: float) -> float:
        """The density after so many steps."""
        rest = min(1.0, max(0.0, (self.end - step) / (self.end - self.begin)))
        return final + (self.initial - final) * rest**3

    def changes(self, step: int) -> bool:
        """Whether the masks are chosen anew at this step."""
        within = self.begin <= step <= self.end
        return within and (step == self.end or (step - self.begin) % self.every == 0)
