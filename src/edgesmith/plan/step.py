"""Steps: calls of kernel functions, in the order of execution."""

from __future__ import annotations

from dataclasses import dataclass

from edgesmith.kernels import Code, Kernel, Problem, Region, Schedule
from edgesmith.plan.select import Candidate, Choice

__all__ = ["Step"]

LEAST_SHARE_NS = 1000.0
"""Predicted work that is worth a thread: less takes longer to hand over, with what it reads and writes, than to do."""


@dataclass(frozen=True, eq=False)
class Step:
    """One call of a kernel function.

    Args:
        considered: every kernel with its own prediction or the reason why it does not apply, the chosen one first.
    """

    region: Region
    problem: Problem
    choice: Choice
    code: Code
    considered: tuple[Candidate, ...]

    @property
    def name(self) -> str:
        return self.region.anchor.name

    @property
    def kernel(self) -> Kernel:
        return self.choice.kernel

    @property
    def schedule(self) -> Schedule:
        return self.choice.schedule

    @property
    def workers(self) -> int:
        """Most threads that share the step."""
        predicted = self.considered[0].predicted_ns
        worth = self.code.tasks if predicted is None else int(predicted / LEAST_SHARE_NS)
        return max(1, min(self.code.tasks, worth))
