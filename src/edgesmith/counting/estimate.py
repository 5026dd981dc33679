"""What a core would take for what a program executes: cycles of its blocks, and lines that its caches lack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgesmith.counting.counts import Block, Misses
from edgesmith.counting.mca import each_cycles
from edgesmith.target import Core

__all__ = ["Estimate", "estimates"]

LINE_BYTES = 64
EXPOSED = 0.5
"""Share of the shorter of computing and moving that the longer one does not hide."""


@dataclass(frozen=True)
class Estimate:
    """Cycles.

    Args:
        compute: of the blocks, everything in the first-level cache.
        near: for lines from the second-level cache.
        far: for lines from behind it.
    """

    compute: float
    near: float = 0.0
    far: float = 0.0

    @property
    def total(self) -> float:
        moved = self.near + self.far
        return max(self.compute, moved) + EXPOSED * min(self.compute, moved)


def estimates(runs: Sequence[Mapping[Block, int]], misses: Sequence[Misses], arch: str, core: Core) -> list[Estimate]:
    """What a core takes for each of several runs.

    Args:
        runs: how often each block was executed.
        misses: of the core's data caches.

    Raises:
        MissingDependency: ``llvm-mca`` is not installed.
    """
    return [
        Estimate(
            computed.total,
            (missed.l1 - missed.l2) * LINE_BYTES / core.l2_bytes_per_cycle,
            missed.l2 * LINE_BYTES / core.far_bytes_per_cycle,
        )
        for computed, missed in zip(each_cycles(runs, arch, core.model), misses, strict=True)
    ]
