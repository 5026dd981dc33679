"""Every environment variable that Edgesmith reads: its name, type, default and one sentence on what it does."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import platformdirs

T = TypeVar("T", int, str, Path)

__all__ = ["CACHE_DIR", "CACHE_MB", "FRONTEND_MEMORY_MB", "FRONTEND_SECONDS", "JOBS", "KNOBS", "Knob"]


@dataclass(frozen=True)
class Knob(Generic[T]):
    """One environment variable; calling it gives the current value."""

    name: str
    default: T
    help: str

    def __call__(self) -> T:
        text = os.environ.get(self.name)
        if text is None:
            return self.default
        try:
            return type(self.default)(text)
        except ValueError as error:
            raise ValueError(f"{self.name}={text!r}: expected {type(self.default).__name__}") from error


CACHE_DIR = Knob("EDGESMITH_CACHE_DIR", Path(platformdirs.user_cache_dir("edgesmith")), "Folder of the build cache.")
CACHE_MB = Knob("EDGESMITH_CACHE_MB", 4096, "Most disk space of compiled artifacts in the build cache.")
FRONTEND_SECONDS = Knob("EDGESMITH_FRONTEND_SECONDS", 300, "Longest time that reading one model may take.")
FRONTEND_MEMORY_MB = Knob("EDGESMITH_FRONTEND_MEMORY_MB", 16384, "Most memory that reading one model may take.")
JOBS = Knob("EDGESMITH_JOBS", os.cpu_count() or 1, "Number of compiler processes that run at once.")

KNOBS: tuple[Knob[int] | Knob[str] | Knob[Path], ...] = (
    CACHE_DIR,
    CACHE_MB,
    FRONTEND_SECONDS,
    FRONTEND_MEMORY_MB,
    JOBS,
)
