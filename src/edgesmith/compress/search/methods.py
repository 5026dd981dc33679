"""The registry of searches: one file each."""

from __future__ import annotations

import difflib
import inspect
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgesmith.compress.search.candidates import Parallel
from edgesmith.compress.search.problem import Found, Problem, Progress
from edgesmith.errors import BadInput
from edgesmith.registry import Registry

__all__ = ["SEARCHES", "Search", "is_parallel", "search", "search_method"]

Search = Callable[..., Found]
"""Called with a problem, and by name ``seed``, ``record``, ``progress``, settings of its own, and ``parallel`` where it
has candidates that do not depend on one another."""

SEARCHES: Registry[Search] = Registry("search", "edgesmith.compress.search")


def search_method(name: str) -> Callable[[Search], Search]:
    """Decorator that registers a search."""
    return SEARCHES.register(name)


def search(
    problem: Problem,
    method: str = "netadapt",
    *,
    seed: int = 0,
    record: str | Path | None = None,
    progress: Progress | None = None,
    parallel: Parallel | None = None,
    **settings: Any,
) -> Found:
    """Search pruning ratios within a budget.

    Args:
        method: one of ``SEARCHES``.
        seed: decides the course; the same seed gives the same outcome where the problem's functions do.
        record: file that an interrupted search goes on from.
        progress: told about trials.
        parallel: evaluates candidates that do not depend on one another: a function like ``map`` over processes or
            machines, such as ``RayWorkers``. Costs are taken one by one while none is evaluated. The outcome is the
            same as without, where the problem's functions give the same in workers.
        settings: the method's own.

    Raises:
        BadInput: no such method, one without candidates for ``parallel``, the record is another search's, a cost is no
            number, or all scores are none.
        BudgetMissed: no shape is within the budget.
    """
    if method not in SEARCHES:
        close = difflib.get_close_matches(method, SEARCHES, n=1)
        hint = f"did you mean {close[0]!r}?" if close else ""
        raise BadInput(f"{method!r} is not one of {', '.join(SEARCHES)}", where="search method", hint=hint)
    if parallel is not None:
        if not is_parallel(method):
            able = ", ".join(name for name in SEARCHES if is_parallel(name))
            why = f"{method!r} learns from every candidate before it has the next: none can be evaluated together"
            raise BadInput(why, where="search parallel", hint=f"these can: {able}")
        settings["parallel"] = parallel
    found = SEARCHES[method](problem, seed=seed, record=record, progress=progress, **settings)
    if not math.isfinite(found.score):
        why = f"no network that was tried has a score: the best one's is {found.score}"
        raise BadInput(why, where="search", hint="look at evaluate, and at what the short training leaves")
    return found


def is_parallel(method: str) -> bool:
    """Whether a search has candidates that do not depend on one another, and takes ``parallel``."""
    return "parallel" in inspect.signature(SEARCHES[method]).parameters
