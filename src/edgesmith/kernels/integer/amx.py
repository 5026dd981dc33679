"""Integer products in tile registers."""

from __future__ import annotations

from typing import ClassVar

from edgesmith.c.tiles import MAX_ROWS
from edgesmith.ir import DType
from edgesmith.kernels.base import Problem, Reject, kernel
from edgesmith.kernels.integer.lines import IntegerSums, starting_sums
from edgesmith.kernels.integer.window import IntegerWindow, integer_window
from edgesmith.kernels.tile_lines import TileKernel, TileSums
from edgesmith.kernels.tile_products import TileDot
from edgesmith.ops import Operator
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

    operators: ClassVar[tuple[type[Operator], ...]] = (IntegerProduct,)
    dot: ClassVar[TileDot] = BYTES

    def window(self, problem: Problem) -> IntegerWindow:
        return integer_window(problem)

    def accepts(self, problem: Problem) -> Reject | None:
        reject = super().accepts(problem)
        if reject is None and IntegerSums(self.window(problem)).dot.name != BYTES.name:
            return Reject("weights less zero points exceed i8")
        return reject

    def sums(self, problem: Problem) -> TileSums:
        window = self.window(problem)
        shift = IntegerSums(window).dot.shift(window.input_type)
        return TileSums(window, BYTES, starting_sums(window, shift, MAX_ROWS), shift)
