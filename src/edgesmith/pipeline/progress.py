"""How callers follow the stages."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Progress", "silent"]

Progress = Callable[[str, int, int], None]
"""Called with the stage's name, the pieces done and the pieces in all."""


def silent(stage: str, done: int, total: int) -> None:
    """The progress callback of a caller who gave none."""
