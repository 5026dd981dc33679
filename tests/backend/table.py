"""The numbers of node cases by operator and status, as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from .running import Status

__all__ = ["table"]


def table(outcomes: Iterable[tuple[str, str]]) -> list[str]:
    """Lines of a table.

    Args:
        outcomes: operator and status of each case.
    """
    counts = Counter(outcomes)
    operators = sorted({op for op, _ in counts})
    statuses = [s.value for s in Status]
    width = max(map(len, operators), default=0) + 2
    lines = [" " * width + "  ".join(statuses)]
    for op in operators:
        cells = [f"{counts[op, s] or '':>{len(s)}}" for s in statuses]
        lines.append(f"{op:<{width}}{'  '.join(cells)}")
    totals = [f"{sum(n for (_, t), n in counts.items() if t == s):>{len(s)}}" for s in statuses]
    lines.append(f"{'all':<{width}}{'  '.join(totals)}")
    return lines
