"""How much of this machine's processors other programs take while something is timed."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["OtherWork"]

_STAT = Path("/proc/stat")
_BUSY = (0, 1, 2, 5, 6, 7)
"""Columns of ``/proc/stat`` (proc(5)): user, nice, system, irq, softirq, steal."""
_IDLE = (3, 4)
"""Idle, and waiting for a disk."""


class OtherWork:
    """Within the block: processor time that neither this process nor what it started and waited for takes.

    Attributes:
        share: of all processors' time, from 0 to 1; after the block. None where the system does not tell.
    """

    share: float | None = None

    def __enter__(self) -> OtherWork:
        self._before = _seconds()
        return self

    def __exit__(self, *_: object) -> None:
        before, after = self._before, _seconds()
        if before is None or after is None:
            return
        busy, whole, own = (b - a for a, b in zip(before, after, strict=True))
        if whole > 0:
            self.share = min(max((busy - own) / whole, 0.0), 1.0)


def _seconds() -> tuple[float, float, float] | None:
    """Busy and all time of all processors, and this process's."""
    try:
        columns = [int(text) for text in _STAT.read_text().splitlines()[0].split()[1:]]
        busy, idle = (sum(columns[i] for i in part) / os.sysconf("SC_CLK_TCK") for part in (_BUSY, _IDLE))
    except (OSError, ValueError, IndexError):
        return None
    return busy, busy + idle, sum(os.times()[:4])
