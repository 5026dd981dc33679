"""What a machine can do at best: the roofline that times are compared with."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

__all__ = ["Bound", "Machine"]

Bound = Literal["compute", "memory"]


@dataclass(frozen=True)
class Machine:
    """Peak rates of one machine for a number of threads.

    The roofline model: S. Williams, A. Waterman, D. Patterson, "Roofline: an insightful visual performance model for
    multicore architectures", Communications of the ACM 52(4), 2009.

    Args:
        name: the processor.
        isa: the instruction set that the peak was reached with.
        threads: threads that worked at the same time; the rates are their sum.
        flops: f32 operations per second; a fused multiply-add counts two.
        bandwidths: (bytes of the working set of one thread, bytes read per second), ascending: the caches and memory.
    """

    name: str
    isa: str
    threads: int
    flops: float
    bandwidths: tuple[tuple[int, float], ...]

    def bandwidth(self, working_set_bytes: float) -> float:
        """Bytes per second when a working set of this size is read over and over (interpolated over its logarithm)."""
        first, last = self.bandwidths[0], self.bandwidths[-1]
        if working_set_bytes <= first[0]:
            return first[1]
        for (low, slow), (high, fast) in pairwise(self.bandwidths):
            if working_set_bytes <= high:
                share = math.log(working_set_bytes / low) / math.log(high / low)
                return slow + share * (fast - slow)
        return last[1]

    def compute_ns(self, macs: float, flops: float = 0) -> float:
        """Least time for multiply-accumulates and other operations."""
        return (2 * macs + flops) / self.flops * 1e9

    def memory_ns(self, nbytes: float, working_set_bytes: float) -> float:
        """Least time to move bytes that are part of a working set."""
        return nbytes / self.bandwidth(working_set_bytes) * 1e9

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "isa": self.isa,
            "threads": self.threads,
            "flops": self.flops,
            "bandwidths": [list(point) for point in self.bandwidths],
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Machine:
        """Raises ``KeyError``, ``TypeError`` or ``ValueError`` when the data has another form."""
        points = tuple((int(size), float(rate)) for size, rate in data["bandwidths"])
        if not points or not data["flops"] > 0:
            raise ValueError("no rates")
        return cls(str(data["name"]), str(data["isa"]), int(data["threads"]), float(data["flops"]), points)
