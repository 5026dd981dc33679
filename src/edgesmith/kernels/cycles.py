"""What the analytic cost models of kernels assume of a processor, and cycle counts that they share."""

from __future__ import annotations

from functools import cache

from edgesmith.c.expr import Expr
from edgesmith.c.mathfunctions import function_of
from edgesmith.ir import DType
from edgesmith.target import Target

__all__ = [
    "FLOAT_BYTES",
    "FMA_LATENCY",
    "FMA_PER_CYCLE",
    "GIGAHERTZ",
    "L2_BYTES_PER_CYCLE",
    "LINE_BYTES",
    "LOADS_PER_CYCLE",
    "UOPS_PER_CYCLE",
    "cycles_of",
    "far_cycles",
    "l1_ways",
    "memory_ns",
]

GIGAHERTZ = 3.5
"""Clock that turns cycles into nanoseconds; only ratios between kernels matter."""

UOPS_PER_CYCLE = 4.0
FMA_PER_CYCLE = 2
FMA_LATENCY = 4
LOADS_PER_CYCLE = 2
FLOAT_BYTES = 4
LINE_BYTES = 64
PAGE_BYTES = 4096
L2_BYTES_PER_CYCLE = 22.0
FAR_BYTES_PER_CYCLE = 28.0
MEMORY_BYTES_PER_NS = 20.0
SHARED_BYTES = 2 << 20
SHARED_BYTES_PER_NS = 60.0
_SLOW = {"div": 6.0, "sqrt": 4.0, "fmod": 40.0}
_USUAL = 0.5


def l1_ways(target: Target) -> int:
    """Associativity of the first-level cache: one that is indexed before addresses are translated has a page a way."""
    return max(target.l1_bytes // PAGE_BYTES, 1)


def cycles_of(expr: Expr) -> float:
    """Cycles of one vector of the expression when many are computed one after another."""
    seen: dict[int, Expr] = {}

    def visit(e: Expr) -> None:
        if id(e) not in seen:
            seen[id(e)] = e
            for arg in e.args:
                visit(arg)

    visit(expr)
    return sum(_cycles(e.op, e.args[0].dtype) for e in seen.values() if e.args)


@cache
def _cycles(primitive: str, dtype: DType) -> float:
    function = function_of(primitive, dtype)
    if function is not None:
        return cycles_of(function.expression)
    return _SLOW.get(primitive, _USUAL)


def far_cycles(nbytes: int, target: Target) -> float:
    """Cycles that moving ``nbytes`` takes when they do not stay in the second-level cache, else 0."""
    return nbytes / FAR_BYTES_PER_CYCLE if nbytes > target.l2_bytes else 0.0


def memory_ns(nbytes: float, streams: int = 4) -> float:
    """Time to bring in what was last used one run ago, such as weights: no cache of the core holds it any more.

    A few megabytes still lie in the cache that all cores share; more than that comes from memory.

    Args:
        streams: runs of addresses that are read, or requested in advance, side by side; with few of them, fewer lines
            are on their way at a time.
    """
    shared = min(nbytes, SHARED_BYTES)
    time = shared / SHARED_BYTES_PER_NS + (nbytes - shared) / MEMORY_BYTES_PER_NS
    return time * max(1.0, 1.5 - 0.125 * streams)
