"""Depthwise convolution of integers: two kernel lines at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from edgesmith.ir import Graph, Node
from edgesmith.kernels.base import Code, Kernel, Problem, Reject, Schedule, kernel
from edgesmith.kernels.integer.depthwise_code import DepthwiseCode
from edgesmith.kernels.integer.depthwise_tiling import Blocking, Tile, blockings, multiplied_weights, nanoseconds
from edgesmith.kernels.integer.window import integer_window
from edgesmith.kernels.region import Region, epilogue_chains
from edgesmith.ops.integer_products import ConvInteger

KEPT = 8


@kernel
class IntegerDepthwise(Kernel):
    """Each lane multiplies two neighbouring lines of one channel at once.

    Input lines of some channels are copied side by side, with the padding in place. Two lines of a column, interleaved
    by channel, are one vector; it serves every output whose window meets that column, with weights of two kernel lines
    (one of them 0 where the window begins or ends between the two).

    Or they are copied as floats and multiplied as such, which is as exact while sums stay below 2**24, and faster where
    an instruction that adds pairs of products does not add to a third operand.
    """

    name: ClassVar[str] = "integer-depthwise"

    def regions(self, graph: Graph, anchor: Node) -> Iterator[Region]:
        if isinstance(anchor.op, ConvInteger) and anchor.op.group > 1:
            yield from epilogue_chains(graph, anchor)

    def accepts(self, problem: Problem) -> Reject | None:
        window = integer_window(problem, any_width=True)
        if window.reject is not None:
            return Reject(window.reject)
        if window.group != window.channels or window.x.shape[3] != window.channels:
            return Reject(f"{window.group} groups of {window.x.shape[3]} channels, {window.channels} filters")
        if window.dilations[0] != 1:
            return Reject("lines are dilated")
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

    def prepares(self, problem: Problem, schedule: Schedule) -> bool:
        return True

    def emit(self, problem: Problem, schedule: Schedule) -> Code:
        return DepthwiseCode(integer_window(problem, any_width=True), Blocking.of(schedule)).code()
