"""Forward hooks, which are no part of what is traced."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from edgesmith.compress.nested import map_tensors, tensors
from edgesmith.errors import BadInput

__all__ = ["refuse_hooks"]

_KINDS = ("_forward_hooks", "_forward_pre_hooks")


def refuse_hooks(module: nn.Module, inputs: tuple[Any, ...]) -> None:
    """Hooks that only look, or compute weights, are no matter.

    Raises:
        BadInput: a module computes something else without a hook on one of its layers.
    """
    hooked = [(name, part) for name, part in module.named_modules() if any(getattr(part, kind) for kind in _KINDS)]
    if not hooked:
        return
    expected = _outputs(module, inputs)
    for name, part in hooked:
        with _without_hooks(part):
            found = _outputs(module, inputs)
        if len(found) != len(expected) or not all(map(_is_same, found, expected)):
            raise BadInput(
                "a forward hook on it changes what the network computes",
                where=name or type(module).__name__,
                hint="write what the hook does into the network's code, or take it off",
            )


def _outputs(module: nn.Module, inputs: tuple[Any, ...]) -> list[torch.Tensor]:
    return tensors(module(*(map_tensors(i, torch.clone) for i in inputs)))


def _is_same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one.float(), other.float(), equal_nan=True)


@contextmanager
def _without_hooks(module: nn.Module) -> Iterator[None]:
    kept = {kind: dict(getattr(module, kind)) for kind in _KINDS}
    for kind in _KINDS:
        getattr(module, kind).clear()
    try:
        yield
    finally:
        for kind, hooks in kept.items():
            getattr(module, kind).update(hooks)
