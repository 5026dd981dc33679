"""Every environment variable that Edgesmith reads: its name, type, default and one sentence on what it does."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import platformdirs

from edgesmith.errors import BadInput

T = TypeVar("T", int, str, Path)

__all__ = [
    "CACHE_DIR",
    "CACHE_MB",
    "FRONTEND_MEMORY_MB",
    "FRONTEND_SECONDS",
    "ISA",
    "JOBS",
    "KNOBS",
    "PEER_SECONDS",
    "TUNING_DB",
    "Knob",
]


@dataclass(frozen=True)
class Knob(Generic[T]):
    """One environment variable; calling it gives the current value, or raises ``BadInput``.

    Args:
        least: smallest value of a number.
    """

    name: str
    default: T
    help: str
    least: int = 1

    def __call__(self) -> T:
        text = os.environ.get(self.name)
        if not text:
            return self.default
        if not isinstance(self.default, int):
            return type(self.default)(text)
        try:
            value = int(text)
        except ValueError:
            value = self.least - 1
        if value < self.least:
            raise BadInput(
                f"{text!r} is no whole number of at least {self.least}",
                where=self.name,
                hint=f"unset it for the default, {self.default}",
            )
        return type(self.default)(value)


CACHE_DIR = Knob("EDGESMITH_CACHE_DIR", Path(platformdirs.user_cache_dir("edgesmith")), "Folder of the build cache.")
TUNING_DB = Knob(
    "EDGESMITH_TUNING_DB",
    Path("tuning/times.sqlite"),
    "File of measured kernel times; a relative path starts in the cache's folder.",
)
CACHE_MB = Knob(
    "EDGESMITH_CACHE_MB",
    4096,
    "Most disk space in MB of each part of the build cache: artifacts, objects, headers, models converted for peers. "
    "0: no objects and headers.",
    0,
)
FRONTEND_SECONDS = Knob("EDGESMITH_FRONTEND_SECONDS", 300, "Longest time that reading one model may take.")
FRONTEND_MEMORY_MB = Knob("EDGESMITH_FRONTEND_MEMORY_MB", 16384, "Most memory that reading one model may take.")
PEER_SECONDS = Knob(
    "EDGESMITH_PEER_SECONDS", 1800, "Longest time that installing a peer, or one request to it, may take."
)
ISA = Knob(
    "EDGESMITH_ISA", "", "Instruction set that is used of artifacts that were compiled for several (default: the best)."
)
JOBS = Knob("EDGESMITH_JOBS", os.cpu_count() or 1, "Number of compiler processes that run at once.")

KNOBS: tuple[Knob[int] | Knob[str] | Knob[Path], ...] = (
    CACHE_DIR,
    TUNING_DB,
    CACHE_MB,
    FRONTEND_SECONDS,
    FRONTEND_MEMORY_MB,
    ISA,
    JOBS,
    PEER_SECONDS,
)
