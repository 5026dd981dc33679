"""How a target multiplies neighbouring integers and sums the products in one lane."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from edgesmith.ir import DType
from edgesmith.kernels.tile import TileShape
from edgesmith.target import Core, Target

__all__ = ["AHEAD_VECTORS", "Dot", "dot2_cycles"]

AHEAD_VECTORS = 2
"""Vectors of weights that cores are given at once which wait for each load, while others are multiplied."""

SCALAR_REGISTERS = 13
"""Integers of one lane lie in the processor's general registers, however many it has for floats."""
LOAD_CYCLES = 0.15
"""What a load delays products by, although it starts beside them: by llvm-mca, on a Neoverse N1."""


def dot2_cycles(target: Target, *, planes: bool = False) -> float:
    """Cycles of one use: one instruction, or a multiplication and an addition, three of which take two cycles.

    NEON multiplies the first numbers, then the second ones, two instructions a cycle; where these lie side by side it
    multiplies halves apart, adds neighbours, and adds these to the sums. Where there is none, numbers are taken out of
    pairs by shifts.

    Args:
        planes: the first numbers of all lanes lie before the second ones.
    """
    if target.lanes > 1 and not target.has("dot2"):
        return 3.0
    if target.has("dot2_planes"):
        return 1.0 if planes else 2.0
    return 0.5 if target.has("dot4") else 0.66


@dataclass(frozen=True)
class Dot:
    """An instruction that adds ``group`` products to every i32 lane.

    Inputs and weights are stored as they are, or as u8 and i8 numbers that differ from them by a constant; what that
    does to the sum is known at compile time and goes into the bias.

    Args:
        name: its name in the vector layer, without ``es_``.
        element, weight: types of the numbers in memory.
        load_input: primitive that repeats the group of an input element in all lanes.
        load_weights: primitive that loads a group of weights for each lane.
        uops: micro-operations of one use, loads aside.
        load_uops: those of loading weights, the load itself aside; with it where one instruction starts at a time.
        planes: the weights of a vector lie in so many runs: the first numbers of every lane, then the next ones.
        lane: its form that takes one lane of the input's vector, after ``es_``; empty: there is none.
        load_lanes: primitive that loads a group of input elements for each lane.
        held: registers of one row's input elements then.
        spare: registers that a tile leaves for intermediate results.
        input_uops: micro-operations of bringing a group of input elements into all lanes; so for its loads.
        vector: C type of both in registers.
        order: in which the weights of a group lie in memory; empty: as they are multiplied.
    """

    name: str
    group: int
    element: DType
    weight: DType
    load_input: str
    load_weights: str
    uops: float
    load_uops: float = 0.0
    planes: int = 1
    lane: str = ""
    load_lanes: str = ""
    held: int = 1
    spare: int = 1
    input_uops: float = 0.5
    vector: str = "es_m"
    order: tuple[int, ...] = ()

    @property
    def settles(self) -> bool:
        """Whether sums are settled after every step: compilers compute one after the other where they may, with the
        weights of all of them on the stack."""
        return self.vector == "es_q"

    def shift(self, dtype: DType) -> int:
        """What is added to inputs of a type so that they fit ``element``."""
        if (self.element, dtype) == (DType.U8, DType.I8):
            return 128
        if (self.element, dtype) == (DType.I8, DType.U8):
            return -128
        return -(1 << 15) if dtype is DType.U16 else 0

    @property
    def widened(self) -> Dot | None:
        """The same on weights that were converted to i16 beforehand; None where that changes nothing."""
        if self.load_weights != "pairs_i8":
            return None
        return replace(self, weight=DType.I16, load_weights="pairs_i16", load_uops=0.0)

    def _by_lane(self, target: Target) -> Dot:
        """With its form that takes a lane, where the target has one."""
        lane = f"{self.name}_lane"
        if not target.has(lane):
            return self
        return replace(self, lane=lane, load_lanes="quads_i8" if self.element is DType.I8 else "quads_u8")

    def fits(self, target: Target, rows: int, vectors: int) -> bool:
        """Whether the operands and intermediate results of a register tile fit the registers beside its sums."""
        if self.ahead(target.core):
            weights = min(vectors, AHEAD_VECTORS) + min(max(vectors - AHEAD_VECTORS, 1), AHEAD_VECTORS)
            return rows * (vectors + self.held) + weights + self.spare <= target.registers
        if self.lane:
            return rows * (vectors + self.held) + 1 + self.spare <= target.registers
        registers = min(target.registers, SCALAR_REGISTERS) if target.lanes == 1 else target.registers
        if self.vector == "es_q":
            return rows * vectors + self.held * (min(rows, vectors) + 1) + self.spare <= registers
        return TileShape(rows, vectors).registers + self.spare < registers

    def ahead(self, core: Core) -> bool:
        """Whether operands are loaded well before their use: by cores that wait for each load."""
        return bool(self.lane) and self.planes == 1 and core.in_order

    def uops_of(self, rows: int, vectors: int) -> float:
        """Micro-operations of a step of a register tile, loads aside."""
        return rows * vectors * self.uops + vectors * self.load_uops + rows * self.input_uops

    def cycles(self, core: Core, rows: int, vectors: int, *, by_lanes: bool = False) -> float:
        """Cycles of a step of a register tile with its data in the first-level cache.

        Args:
            by_lanes: products are by lanes of the inputs' vectors, which serve as many steps as they have lanes.
        """
        products = rows * vectors
        least = max(products / core.fma_per_cycle, 2.0 if products < 4 else 0.0)
        if by_lanes and self.planes == 1:
            loads = vectors + rows / 4
            uops = products * self.uops + vectors * self.load_uops + loads
            return max(least, uops / core.uops_per_cycle, loads / core.loads_per_cycle) + LOAD_CYCLES * loads
        return max(least, self.uops_of(rows, vectors) / core.uops_per_cycle, (rows + vectors) / core.loads_per_cycle)

    @classmethod
    def of(cls, target: Target, weights: np.ndarray, inputs: DType = DType.U8) -> Dot:
        """The fastest of a target for weights of some range and inputs of a type."""
        narrow = not weights.size or (weights.min() >= -128 and weights.max() <= 127)
        if narrow and inputs.itemsize == 1 and target.has("dot4"):
            return cls("dot4", 4, DType.U8, DType.I8, "quad", "quads_i8", 1.0)._by_lane(target)
        if narrow and inputs.itemsize == 1 and target.has("dot4_i8"):
            return cls("dot4_i8", 4, DType.I8, DType.I8, "quad_i8", "quads_i8", 1.0)._by_lane(target)
        if inputs.itemsize == 1 and target.has("dot4_planes") and abs(weights).max(initial=0) <= 127:
            dot = cls("dot4_planes", 4, DType.I8, DType.I8, "quad_i8", "quads_i8", 3.0, planes=2)
            # Two numbers of a group are repeated apart from the other two.
            return replace(dot, load_uops=1.0, held=3, spare=5, input_uops=2.0)._by_lane(target)
        if narrow and target.has("dot4_i16"):
            dot = cls("dot4_i16", 4, DType.I16, DType.I8, "quad_i16", "halves_i8", 2.0, vector="es_q")
            return replace(dot, load_uops=3.0, held=2, spare=3, input_uops=2.0, order=(0, 2, 1, 3))
        if narrow and inputs.itemsize == 1 and (target.lanes == 1 or target.has("dot1")):
            dot = cls("dot1", 1, inputs, DType.I8, f"one_{inputs}", "each_i8", 2.0, 2.0, input_uops=2.0)
            # Beside vectors, the input stays in a scalar register.
            return replace(dot, uops=1.0, input_uops=0.5) if target.has("dot1") else dot
        planes = target.has("dot2_planes")
        uops = dot2_cycles(target, planes=planes) * target.core.uops_per_cycle
        name, count = ("dot2_planes", 2) if planes else ("dot2", 1)
        if narrow:
            return cls(name, 2, DType.I16, DType.I8, "pair", "pairs_i8", uops, 2.5, planes=count)
        return cls(name, 2, DType.I16, DType.I16, "pair", "pairs_i16", uops, planes=count)
