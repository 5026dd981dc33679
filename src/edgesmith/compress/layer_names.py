"""Layers that a user chooses by shell patterns of their names."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

__all__ = ["not_chosen"]


def not_chosen(name: str, include: str | Sequence[str], exclude: str | Sequence[str]) -> str | None:
    """Why a layer is left alone, or None.

    Args:
        include: shell patterns, or one; layers that match none are left alone.
        exclude: shell patterns, or one, of layers that are left alone.
    """
    if not any(fnmatchcase(name, pattern) for pattern in _patterns(include)):
        return "not included"
    return next((f"excluded by {pattern!r}" for pattern in _patterns(exclude) if fnmatchcase(name, pattern)), None)


def _patterns(given: str | Sequence[str]) -> Sequence[str]:
    return (given,) if isinstance(given, str) else given
