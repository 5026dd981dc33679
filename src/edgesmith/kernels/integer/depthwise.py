"""Depthwise convolution of integers: two kernel lines at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from edgesmith.kernels.base import Code, Problem, Reject, Schedule, kernel
from edgesmith.kernels.integer.depthwise_code import DepthwiseCode
from edgesmith.kernels.integer.depthwise_kernel import DepthwiseKernel
from edgesmith.kernels.integer.depthwise_tiling import Blocking, Tile, blockings, multiplied_weights, nanoseconds
from edgesmith.kernels.integer.window import integer_window

KEPT = 8


@kernel
class IntegerDepthwise(DepthwiseKernel):
    """Each lane multiplies two neighbouring lines of one channel at once.

    Input lines of some channels are copied side by side, with the padding in place. Two lines of a column, interleaved
    by channel, are one vector; it serves every output whose window meets that column, with weights of two kernel lines
    (one of them 0 where the window begins or ends between the two).

    Or they are copied as floats and multiplied as such, which is as exact while sums stay below 2**24, and faster where
    an instruction that adds pairs of products does not add to a third operand.
    """

    name: ClassVar[str] = "integer-depthwise"
    always_prepares: ClassVar[bool] = True

    def accepts(self, problem: Problem) -> Reject | None:
        window = integer_window(problem, any_width=True)
        if refusal := self.refusal(window):
            return Reject(refusal)
        return (
            Reject("sums of one byte of the weights do not fit 32 bits") if multiplied_weights(window) is None else None
        )

    def schedules(self, problem: Problem) -> Sequence[Schedule]:
        window = integer_window(problem, any_width=True)
        found = [b for b in blockings(window) if Tile(window, b).registers < problem.target.registers]
        best = sorted(found, key=lambda b: nanoseconds(window, b))
        kinds = [[b for b in best if b.floats == floats][:KEPT] for floats in (False, True)]
        return [b.schedule for kind in kinds for b in kind]

    def cost(self, problem: Problem, schedule: Schedule) -> float:
        return nanoseconds(integer_window(problem, any_width=True), Blocking.of(schedule))

    def in_place(self, problem: Problem) -> tuple[str, ...]:
        return integer_window(problem, any_width=True).epilogue.in_place(problem)

    def emit(self, problem: Problem, schedule: Schedule) -> Code:
        return DepthwiseCode(integer_window(problem, any_width=True), Blocking.of(schedule)).code()
