"""Layers that a user chooses by shell patterns of their names."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from edgesmith.errors import BadInput

__all__ = ["not_chosen", "refuse_unused"]

ALL = "*"


def not_chosen(name: str, include: str | Sequence[str], exclude: str | Sequence[str]) -> str | None:
    """Why a layer is left alone, or None.

    Args:
        include: shell patterns, or one; layers that match none are left alone.
        exclude: shell patterns, or one, of layers that are left alone.
    """
    if not any(fnmatchcase(name, pattern) for pattern in _patterns(include)):
        return "not included"
    return next((f"excluded by {pattern!r}" for pattern in _patterns(exclude) if fnmatchcase(name, pattern)), None)


def refuse_unused(patterns: str | Sequence[str], names: Sequence[str], where: str) -> None:
    """
    Args:
        patterns: shell patterns, or one.
        names: of all layers that may be chosen.
        where: the argument that the patterns are from.

    Raises:
        BadInput: a pattern fits no layer.
    """
    for pattern in _patterns(patterns):
        if pattern != ALL and not any(fnmatchcase(name, pattern) for name in names):
            raise BadInput(
                f"no layer is called {pattern!r}",
                where=where,
                hint=f"there is: {', '.join(filter(None, names[:8])) or 'no layer inside this one'}",
            )


def _patterns(given: str | Sequence[str]) -> Sequence[str]:
    return (given,) if isinstance(given, str) else given
