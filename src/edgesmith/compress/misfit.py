"""Inputs that a module does not run on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from edgesmith.errors import BadInput, EdgesmithError

__all__ = ["evaluated_on"]


@contextmanager
def evaluated_on(what: str, *, where: str, hint: str) -> Iterator[None]:
    """Around the evaluation of a module on ``what`` a user gave.

    Raises:
        BadInput: the module raised something; memory that ran out is told as it is.
    """
    try:
        yield
    except (EdgesmithError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # whatever the module's code raises
        why = f"does not run on {what}: {type(error).__name__}: {error}"
        raise BadInput(why, where=where, hint=hint) from error
