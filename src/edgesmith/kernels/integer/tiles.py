"""Register tiles of integer sums over packed input lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from edgesmith.ir import Graph, Node
from edgesmith.kernels.base import Code, Kernel, Problem, Reject, Schedule, kernel
from edgesmith.kernels.integer.tile_code import TileCode
from edgesmith.kernels.integer.tile_sums import TileBlocking, TileSums, blockings
from edgesmith.kernels.integer.window import integer_window
from edgesmith.kernels.region import Region, epilogue_chains
from edgesmith.ops.integer_products import IntegerProduct


@kernel
class IntegerTiles(Kernel):
    """Sums of integer products in register tiles of pixels by channels.

    The input lines of a task are first copied side by side in the type that the target multiplies, with the padding in
    place. The products of a kernel line then are one run of neighbouring elements, whatever the window.
    """

    name: ClassVar[str] = "integer-tiles"
    emitter: ClassVar[type[TileCode]] = TileCode

    def sums(self, problem: Problem) -> TileSums:
        return TileSums(integer_window(problem, takes_signs=True, any_width=True))

    def regions(self, graph: Graph, anchor: Node) -> Iterator[Region]:
        if isinstance(anchor.op, IntegerProduct):
            yield from epilogue_chains(graph, anchor)

    def accepts(self, problem: Problem) -> Reject | None:
        window = integer_window(problem, takes_signs=True, any_width=True)
        if window.reject is not None:
            return Reject(window.reject)
        if window.group != 1:
            return Reject(f"{window.group} groups")
        return Reject("no part of a sum fits 32 bits") if window.wide and TileSums(window).partial is None else None

    def schedules(self, problem: Problem) -> Sequence[Schedule]:
        return [b.schedule for b in blockings(self.sums(problem))]

    def cost(self, problem: Problem, schedule: Schedule) -> float:
        return self.sums(problem).nanoseconds(TileBlocking.of(schedule))

    def in_place(self, problem: Problem) -> tuple[str, ...]:
        return integer_window(problem, takes_signs=True, any_width=True).epilogue.in_place(problem)

    def prepares(self, problem: Problem, schedule: Schedule) -> bool:
        return bool(schedule["wide"])

    def emit(self, problem: Problem, schedule: Schedule) -> Code:
        return self.emitter(self.sums(problem), TileBlocking.of(schedule)).code()
