"""Integer products in tile registers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from edgesmith.c.tiles import MAX_ROWS
from edgesmith.ir import DType, Graph, Node
from edgesmith.kernels.base import Problem, Reject, kernel
from edgesmith.kernels.integer.lines import IntegerSums, starting_sums
from edgesmith.kernels.integer.window import integer_window
from edgesmith.kernels.region import Region, epilogue_chains
from edgesmith.kernels.tile_lines import TileKernel, TileSums
from edgesmith.kernels.tile_products import TileDot
from edgesmith.ops.integer_products import IntegerProduct

BYTES = TileDot(
    "dot4",
    group=4,
    element=DType.U8,
    weight=DType.I8,
    sum=DType.I32,
    repeat="es_quad({0})",
    load="es_quads_i8({0})",
    add="es_dot4({0}, {1}, {2})",
    plus="(es_m)((es_u){0} + (es_u){1})",
)


@kernel
class IntegerAmx(TileKernel):
    """Sums of integer products, the same bits with and without tiles."""

    name: ClassVar[str] = "integer-amx"

    def regions(self, graph: Graph, anchor: Node) -> Iterator[Region]:
        if isinstance(anchor.op, IntegerProduct):
            yield from epilogue_chains(graph, anchor)

    def accepts(self, problem: Problem) -> Reject | None:
        if not problem.target.has("tile_dot4"):
            return Reject("the target multiplies no tiles of bytes")
        window = integer_window(problem)
        if window.reject is not None:
            return Reject(window.reject)
        if window.group != 1:
            return Reject(f"{window.group} groups")
        return None if IntegerSums(window).dot.name == BYTES.name else Reject("weights less zero points exceed i8")

    def sums(self, problem: Problem) -> TileSums:
        window = integer_window(problem)
        shift = IntegerSums(window).dot.shift(window.input_type)
        return TileSums(window, BYTES, starting_sums(window, shift, MAX_ROWS), shift)
