"""What the analytic cost models of kernels assume of a processor, and cycle counts that they share."""

from __future__ import annotations

from functools import cache

from edgesmith.c.expr import Expr
from edgesmith.c.mathfunctions import function_of
from edgesmith.ir import DType
from edgesmith.target import Core, Target

__all__ = ["FLOAT_BYTES", "LINE_BYTES", "cycles_of", "far_cycles", "l1_ways", "memory_ns", "near_memory_ns"]

FLOAT_BYTES = 4
LINE_BYTES = 64
PAGE_BYTES = 4096
NEAR_SLOWDOWN = 1.2
"""How much longer than what was used one run ago such data take, which other data pushed out."""


def l1_ways(target: Target) -> int:
    """Associativity of the first-level cache: one that is indexed before addresses are translated has a page a way."""
    return max(target.l1_bytes // PAGE_BYTES, 1)


def cycles_of(expr: Expr, target: Target) -> float:
    """Cycles of one vector of the expression when many are computed one after another."""
    return _cycles_of(expr, target.core)


def _cycles_of(expr: Expr, core: Core) -> float:
    seen: dict[int, Expr] = {}

    def visit(e: Expr) -> None:
        if id(e) not in seen:
            seen[id(e)] = e
            for arg in e.args:
                visit(arg)

    visit(expr)
    return sum(_cycles(e.op, e.args[0].dtype, core) for e in seen.values() if e.args)


@cache
def _cycles(primitive: str, dtype: DType, core: Core) -> float:
    function = function_of(primitive, dtype)
    if function is not None:
        return _cycles_of(function.expression, core)
    slow = {"div": core.div_cycles, "sqrt": core.sqrt_cycles, "fmod": core.fmod_cycles}
    return slow.get(primitive, 1 / core.fma_per_cycle)


def far_cycles(nbytes: int, target: Target) -> float:
    """Cycles that moving ``nbytes`` takes when they do not stay in the second-level cache, else 0."""
    return nbytes / target.core.far_bytes_per_cycle if nbytes > target.l2_bytes else 0.0


def memory_ns(nbytes: float, target: Target, streams: int = 4) -> float:
    """Time to bring in what was last used one run ago, such as weights: no cache of the core holds it any more.

    A few megabytes still lie in the cache that all cores share; more than that comes from memory.

    Args:
        streams: runs of addresses that are read, or requested in advance, side by side; with few of them, fewer lines
            are on their way at a time.
    """
    core = target.core
    shared = min(nbytes, core.shared_bytes)
    time = shared / core.shared_bytes_per_ns + (nbytes - shared) / core.memory_bytes_per_ns
    return time * max(1.0, 1.5 - 0.125 * streams)


def near_memory_ns(nbytes: float, target: Target) -> float:
    """Time to bring in again what was used a moment ago and does not fit the second-level cache."""
    return nbytes / (target.core.shared_bytes_per_ns / NEAR_SLOWDOWN)
