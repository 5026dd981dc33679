"""Data that must not be missing."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Any

from edgesmith.errors import BadInput

__all__ = ["at_least_one"]


def at_least_one(batches: Iterable[Any] | None, where: str) -> Iterable[Any]:
    """The batches.

    Raises:
        BadInput: there are none, such as in a generator that was read before.
    """
    if batches is None:
        raise BadInput("needs data", where=where, hint="pass data=, a list of batches")
    left = iter(batches)
    for first in left:
        return chain((first,), left)
    raise BadInput("the data hold no batch", where=where, hint="pass a list: a generator is empty once it was read")
