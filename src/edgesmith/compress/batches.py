"""Data that must not be missing, and must fit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any, TypeVar

import torch
from torch import nn

from edgesmith.compress.misfit import evaluated_on
from edgesmith.compress.tracing import inputs_of
from edgesmith.errors import BadInput

__all__ = ["at_least_one", "each_batch", "evaluate_each"]

Result = TypeVar("Result")


def at_least_one(batches: Iterable[Any] | None, where: str) -> Iterable[Any]:
    """The batches.

    Raises:
        BadInput: there are none, such as in a generator that was read before; or a tensor is given, whose samples would
            be taken for batches.
    """
    if batches is None:
        raise BadInput("needs data", where=where, hint="pass data=, a list of batches")
    if isinstance(batches, torch.Tensor):
        raise BadInput("the data are one tensor", where=where, hint="pass a list of batches, such as [tensor]")
    left = iter(batches)
    for first in left:
        return chain((first,), left)
    raise BadInput("the data hold no batch", where=where, hint="pass a list: a generator is empty once it was read")


def each_batch(function: Callable[[Any], Result], batches: Iterable[Any] | None, where: str) -> Iterator[Result]:
    """What a function gives for every batch.

    Raises:
        BadInput: there are none, or the function fails with one.
    """
    for number, batch in enumerate(at_least_one(batches, where)):
        hint = "pass a list of batches: inputs, or tuples of inputs and labels"
        with evaluated_on(f"batch {number}, {_told(batch)}", where=where, hint=hint):
            found = function(batch)
        yield found


def evaluate_each(module: nn.Module, batches: Iterable[Any] | None, where: str) -> None:
    """Run a module on every batch; raises as ``each_batch``."""
    for _ in each_batch(lambda batch: module(*inputs_of(module, batch)), batches, where):
        pass


def _told(batch: Any) -> str:
    if isinstance(batch, torch.Tensor):
        return f"a tensor of shape {tuple(batch.shape)}"
    if isinstance(batch, (tuple, list)):
        return f"a {type(batch).__name__} of {', '.join(map(_told, batch))}"
    return f"a {type(batch).__name__}"
