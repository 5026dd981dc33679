"""One rule under several names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgesmith.compress.prune.propagation import RULES, Call

__all__ = ["rule"]


def rule(*names: str) -> Callable[[Callable[[Call], Any]], Callable[[Call], Any]]:
    """Decorator that registers a rule for functions, methods or classes of modules."""

    def add(function: Callable[[Call], Any]) -> Callable[[Call], Any]:
        for name in names:
            RULES.register(name)(function)
        return function

    return add
