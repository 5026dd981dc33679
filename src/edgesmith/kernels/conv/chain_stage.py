"""What the stages of a chain share: how a block of output rows lies in scratch memory, constants and operands."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from edgesmith.c.writer import Writer
from edgesmith.kernels.base import Problem
from edgesmith.kernels.conv.chain import Chain, Tiling
from edgesmith.kernels.epilogue import Epilogue

__all__ = ["Block", "Stage"]


class Block:
    """Extents of a block and of its scratch memory.

    The ring of expanded rows lies there as (panel, slot, column, channel of the panel), the depthwise results as
    (panel, pixel, channel of the panel).
    """

    def __init__(self, chain: Chain, tiling: Tiling) -> None:
        self.chain, self.tiling = chain, tiling
        self.panels = chain.panels(tiling)
        self.width = self.panels.vectors * self.panels.lanes
        self.slots = chain.ring_rows(tiling.rows)
        self.height, self.out_width = chain.y.shape[2:]
        self.count = -(-self.height // tiling.rows)
        self.row_floats = chain.ring_columns * self.width
        self.pixels = tiling.rows * self.out_width

    def pointer(self, problem: Problem) -> str:
        """C variable of the input of a convolution that reads an input of the chain."""
        return f"x{self.chain.problem.region.inputs.index(problem.anchor.inputs[0])}"


class Stage(ABC):
    """One convolution of the chain with the operators after it.

    Its constants and the operands of its epilogue carry its name as suffix in the function of the chain.
    """

    name: str

    def __init__(self, block: Block, problem: Problem, epilogue: Epilogue) -> None:
        self.block, self.problem, self.epilogue = block, problem, epilogue
        self.lanes = block.chain.lanes
        self.constants: list[tuple[str, np.ndarray]] = []
        for name, array in epilogue.constants:
            self._add(name, array)

    def _add(self, name: str, array: np.ndarray) -> None:
        self.constants.append((f"{name}_{self.name}", array))

    @abstractmethod
    def write_tiles(self, w: Writer) -> None:
        """Write the static functions of the register tiles."""

    @abstractmethod
    def write(self, w: Writer) -> None:
        """Write the stage for a block; the depthwise one and those before it for the channels of ``panel``."""

    def write_operands(self, w: Writer) -> None:
        """Write pointers to the run-time operands of the epilogue."""
        whole = self.block.chain.problem.region.inputs
        for value, operand in zip(self.epilogue.values, self.epilogue.operands, strict=False):
            w.line(f"const float *const {operand.pointer}_{self.name} = x{whole.index(value)};")
